"""Informational CDS Hooks cards on stage IV breast cancer: what five documents say about treating this patient.

The map, in reading order. A module imports only modules above it; a test keeps the order true.

    kleene                   true, false, unknown
    errors                   what is refused, and with which HTTP status
    model                    the frozen words that rooms hand to each other

    knowledge.digest         digests of source texts
    knowledge.lexicon        what a code or word stands for
    knowledge.strict_yaml    YAML without surprises
    knowledge.conditions     the `when` of a statement
    knowledge.files          the folder of files, each against its schema
    knowledge.passages       sources and their passages
    knowledge.drugs          drugs and classes
    knowledge.facts          facts and the conditions they name
    knowledge.sections       cards, sections, options, statements
    knowledge.effects        monitoring and side effects of drugs
    knowledge.words          the lexicon, built from the files
    knowledge.knowledge      everything the service knows of medicine, frozen
    knowledge.load           from files to knowledge, all problems at once
    knowledge.coverage       are all passages found, is every line accounted for

    decision.evaluate        conditions over truths: true? why? what is missing?
    decision.advise          the decision table: from statements to a status
    decision.by_drug         the options in which a drug takes part
    decision.marks           current, used before, same class as a drug that failed
    decision.what_if         what another answer of a fact would change

    patient.dates            dates as records write them
    patient.elements         reaching into raw JSON
    patient.references       where a reference leads
    patient.answers          which query something says it answers
    patient.versions         older shapes of FHIR in the shape of R4
    patient.record           one patient's resources out of a prefetch
    patient.project          is it FHIR R4, as far as it is read (fhir.resources)
    patient.recognise        codes and words to senses
    patient.content          what a resource says, apart from whose and when: read once
    patient.chart            the record, indexed once
    patient.evidence         readings of one fact, and settling them
    patient.sides            which breast a resource speaks of
    patient.results          a laboratory answer in any shape
    patient.naming           which medicine a resource names
    patient.setting          given before, for, or outside the metastatic disease
    patient.medicines        courses of treatment
    patient.menopause        menopause, ovarian suppression
    patient.history          earlier treatment: what was given, what failed
    patient.lines            lines of treatment
    patient.removals         contraindications, refusals
    patient.diagnosis        is it breast cancer, which other cancers
    patient.receptors        oestrogen and progesterone receptors
    patient.her2             HER2: several methods, one status
    patient.spread           sites of metastases, their extent and symptoms
    patient.stage            is it stage IV
    patient.measures         sex, death, symptoms
    patient.fitness          ECOG and explicit words
    patient.calcium          blood calcium
    patient.brca             inherited mutations
    patient.in_hand          orders in hand, conditions being created
    patient.establish        from a record to facts
    patient.queries          the FHIR queries that the facts need
    patient.pages            what a FHIR server answers to one query, page by page
    patient.whose            whose a resource is that comes without a call
    patient.draft            a draft order, a record as a client prefetches it

    hooks.catalogue          the hooks this service answers
    hooks.quick              what surely keeps to a schema
    hooks.request            a call, validated
    hooks.feedback           what became of cards, validated
    hooks.lacking            what a call does not bring, and the door to it
    hooks.context            what of a call's context is in question
    hooks.discovery          what is offered and needed
    hooks.wording            conditions in words
    hooks.review             the knowledge for whoever reviews it
    hooks.difference         what one knowledge says and another does not
    hooks.markdown           the text of a card
    hooks.listing            what a card lists, and the card id that tells
    hooks.cards              cards: text and extension from the same verdicts
    hooks.drug_text          the text of a card on one drug
    hooks.drug_cards         cards on the drugs in hand
    hooks.memory             what was read from the latest records
    hooks.respond            the program in one function
    hooks.try_out            what a client would send

    synthetic.vocabulary     the lexicon turned round: codes and words of a meaning
    synthetic.story          an invented patient, told in the words of the facts
    synthetic.sheet          whose record it is, in which shape, and when things were
    synthetic.findings       Observations of a story
    synthetic.treatment      what was given, refused, not tolerated
    synthetic.visits         what every record holds besides
    synthetic.record         from a story to resources
    synthetic.search         records read and searched as FHIR says
    synthetic.population     any number of stories from a seed

    edge.urls                URLs of other machines, read and compared
    edge.outbound            one bounded, guarded GET
    edge.cycles              when the collector looks for cycles
    edge.clock               which day it is
    edge.settings            what a site sets
    edge.audit               one line per call for the log
    edge.metrics             counts and times for Prometheus
    edge.watch               who is told of the work while it goes on
    edge.tracing             spans for OpenTelemetry
    edge.fetch               the client's FHIR server as second door
    edge.outcome             refusals as OperationOutcomes
    edge.tables              the tables of the store
    edge.migrate             their schema, brought up to date (migrations/ holds alembic's steps)
    edge.store               feedback, listings and used tokens, durably
    edge.recorder            listings to the store, off the way of the answer
    edge.report              feedback counted
    edge.keys                the public keys of callers, given or fetched
    edge.callers             whom a site trusts
    edge.identity            who calls, as a token proves
    edge.safety              is what a site set safe to start with
    edge.guard               what stands around every route
    edge.health              is it alive, can it serve, what was counted
    edge.openapi             the service in OpenAPI 3.1
    edge.files               records on disk as hook calls
    edge.explain             a trace for a reader, as text and as JSON
    edge.invented            the invented patients that the package ships
    edge.bulk                records as files, in the layout of Bulk Data
    edge.replay.line         the line of one patient in a run
    edge.replay.reading      one line of an export: whose, or why it is not used
    edge.replay.sources      the files of an export, in pieces
    edge.replay.spill        the export sorted by patient, on disk
    edge.replay.shared       what is nobody's, by id
    edge.replay.answering    from the lines of a patient to the line of the run
    edge.replay.plan         what a replay is asked to do
    edge.replay.parts        the lines of a run while it is made
    edge.replay.run          the folder of a run
    edge.replay.workers      several processes
    edge.replay.progress     how far it is, on a terminal
    edge.replay.folder       a run over files
    edge.replay.stream       a run over a stream
    edge.replay.spark        the same run on Apache Spark
    edge.sandbox_fhir        a read-only FHIR server over them
    edge.pages.shown         text, Markdown and JSON on a page
    edge.pages.house         what stands around every page
    edge.pages.knowledge     the knowledge as pages
    edge.pages.trial         one trial of the sandbox
    edge.pages.samples       the patients to choose from
    edge.pages.sandbox       the sandbox
    edge.pages.pages         all pages in one blueprint
    edge.replay.counts       counts under keys, small ones hidden
    edge.replay.aggregate    the lines of a replay counted
    edge.replay.finished     a finished replay on disk
    edge.replay.causes       why advice differs between two runs
    edge.replay.compare      two runs beside each other
    edge.replay.changes      the changes counted
    edge.replay.plots        bars, columns and numbers
    edge.replay.report       what a replay shows, as one page
    edge.replay.summary      the same in a few lines
    edge.replay.impact       all of it, written beside the lines
    edge.replay.command      `cds-service replay`
    edge.web                 HTTP
    edge.start               from the environment to a warm application
    edge.wsgi                the application for a WSGI server
    edge.gunicorn_conf       several workers under gunicorn
    edge.command.common      what commands have in common
    edge.command.serve       `cds-service serve`
    edge.command.knowledge   `cds-service check`, `cds-service sources`
    edge.command.explain     `cds-service explain`
    edge.command.synthesize  `cds-service synthesize`
    edge.command.store       `cds-service feedback`, `cds-service database`
    edge.cli                 the command line: which command stands where
"""
