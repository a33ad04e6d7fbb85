"""Feedback, listings, used tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "feedback",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("received", sa.String(10), nullable=False, comment="day, UTC"),
        sa.Column("caller", sa.String(300), nullable=False),
        sa.Column("tenant", sa.String(300), nullable=False),
        sa.Column("service", sa.String(100), nullable=False),
        sa.Column("card", sa.String(36), nullable=False),
        sa.Column(
            "imprint",
            sa.String(15),
            nullable=False,
            comment="joins to listing; '' for a card that is not of this service",
        ),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("timestamp", sa.String(27), nullable=False, comment="of the client, UTC"),
        sa.Column("suggestions", sa.Text, nullable=False, comment="JSON array of ids"),
        sa.Column("reason_system", sa.String(300), nullable=False),
        sa.Column("reason_code", sa.String(100), nullable=False),
        sa.Column("commented", sa.Boolean, nullable=False),
        sa.Column("comment", sa.Text, nullable=True, comment="only where the site keeps comments"),
    )
    op.create_table(
        "listing",
        sa.Column("imprint", sa.String(15), primary_key=True),
        sa.Column("card", sa.String(100), nullable=False),
        sa.Column("version", sa.String(100), nullable=False),
        sa.Column("digest", sa.String(100), nullable=False),
        sa.Column("options", sa.Text, nullable=False, comment="JSON array of [option, section, status]"),
    )
    op.create_table(
        "token_use",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("expires", sa.BigInteger, nullable=False, comment="seconds since 1970, UTC"),
    )
    op.create_index("token_use_expires", "token_use", ["expires"])


def downgrade() -> None:
    op.drop_table("token_use")
    op.drop_table("listing")
    op.drop_table("feedback")
