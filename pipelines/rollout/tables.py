"""The tables of the rollout database. They hold no text of any request; no API key can be made from what stands here."""

import sqlalchemy as sa

metadata = sa.MetaData()

events = sa.Table(
    "events",
    metadata,
    sa.Column("gateway", sa.String(64), primary_key=True),
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("request", sa.String(64), nullable=False),
    sa.Column("user_hmac", sa.String(64), nullable=False),
    sa.Column("arm", sa.String(8), nullable=False),
    sa.Column("version", sa.String(80), nullable=False),
    sa.Column("shadow", sa.Boolean, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("slis", sa.JSON, nullable=False),
    sa.Column("scores", sa.JSON(none_as_null=True)),
    sa.Index("events_at", "name", "at"),
)

routes = sa.Table(
    "route",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("champion", sa.String(80)),
    sa.Column("canary", sa.String(80)),
    sa.Column("weight", sa.Float, nullable=False),
    sa.Column("shadow", sa.Boolean, nullable=False),
    sa.Column("salt", sa.String(64), nullable=False),
    sa.Column("lease_until", sa.Float, nullable=False),
)

rollouts = sa.Table(
    "rollouts",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(63), nullable=False, index=True),
    sa.Column("version", sa.String(80), nullable=False),
    sa.Column("champion", sa.String(80)),
    sa.Column("state", sa.JSON, nullable=False),
    sa.Column("offsets", sa.JSON, nullable=False),
    sa.Column("outcome", sa.String(16)),
    sa.Column("opened_at", sa.Float, nullable=False),
    sa.Column("closed_at", sa.Float),
    sa.Index("rollouts_one_open", "name", unique=True, sqlite_where=sa.text("outcome IS NULL"),
             postgresql_where=sa.text("outcome IS NULL")),
)  # fmt: skip

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("rollout", sa.Integer, sa.ForeignKey("rollouts.id"), nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("numbers", sa.JSON, nullable=False),
)

# Users who were bet on in a rollout, by SLI and game: large, so not in the state.
counted = sa.Table(
    "counted",
    metadata,
    sa.Column("rollout", sa.Integer, sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("key", sa.String(96), primary_key=True),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("rollout", sa.Integer, sa.ForeignKey("rollouts.id"), nullable=False),
    sa.Column("effect", sa.String(16), nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("done_at", sa.Float),
)

# Which controller acts for a model; `token` rises whenever another one takes over.
controllers = sa.Table(
    "controllers",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("holder", sa.String(250), nullable=False),
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)

# What a person has stopped: one rollout (pause), or all of a model's (freeze: `rollout` is null).
holds = sa.Table(
    "holds",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("rollout", sa.Integer, sa.ForeignKey("rollouts.id")),
    sa.Column("person", sa.String(63), nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)

# What users met of late, by minute and SLI, and what a person was paged for and burns still: pipelines/rollout/paging.py.
burns = sa.Table(
    "burns",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("looked_at", sa.Float, nullable=False),
    sa.Column("minutes", sa.JSON, nullable=False),
    sa.Column("told", sa.JSON, nullable=False),
)

# How a rollout stood over time, for its page: thinned out (`ledger.measure`).
measures = sa.Table(
    "measures",
    metadata,
    sa.Column("rollout", sa.Integer, sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("at", sa.Float, primary_key=True),
    sa.Column("numbers", sa.JSON, nullable=False),
)

# The API keys of gateways: pipelines/serving/keys.py. No key can be made from what stands here.
api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(63), nullable=False, index=True),
    sa.Column("holder", sa.String(63), nullable=False),
    sa.Column("requests_per_minute", sa.Integer),
    sa.Column("admin", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("revoked_at", sa.Float),
)
