"""The tables of the store. Of a patient they hold nothing: no name, no id, no record, no IP address and no user."""

from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, String, Table, Text

#: the schema of these tables: the newest of `migrations/versions`
REVISION = "0001"

METADATA = MetaData()

#: one row is one reaction to one card; `key` is the digest of what makes it that reaction, so it is stored once
FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("key", String(64), primary_key=True),
    Column("received", String(10), nullable=False, comment="day, UTC"),
    Column("caller", String(300), nullable=False),
    Column("tenant", String(300), nullable=False),
    Column("service", String(100), nullable=False),
    Column("card", String(36), nullable=False),
    Column(
        "imprint", String(15), nullable=False, comment="joins to listing; '' for a card that is not of this service"
    ),
    Column("outcome", String(10), nullable=False),
    Column("timestamp", String(27), nullable=False, comment="of the client, UTC"),
    Column("suggestions", Text, nullable=False, comment="JSON array of ids"),
    Column("reason_system", String(300), nullable=False),
    Column("reason_code", String(100), nullable=False),
    Column("commented", Boolean, nullable=False),
    Column("comment", Text, nullable=True, comment="only where the site keeps comments"),
)

#: one row is what cards with this imprint list
LISTING = Table(
    "listing",
    METADATA,
    Column("imprint", String(15), primary_key=True),
    Column("card", String(100), nullable=False),
    Column("version", String(100), nullable=False),
    Column("digest", String(100), nullable=False),
    Column("options", Text, nullable=False, comment="JSON array of [option, section, status]"),
)

#: one row is a caller's token that was used; `token` is the digest of issuer and jti
TOKEN_USE = Table(
    "token_use",
    METADATA,
    Column("token", String(64), primary_key=True),
    Column("expires", BigInteger, nullable=False, comment="seconds since 1970, UTC"),
    Index("token_use_expires", "expires"),
)
