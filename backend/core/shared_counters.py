"""Where counters are that several processes share: Redis or Valkey, by DRIFTGRAPH_BUDGET_URL."""


def redis_address(url: str) -> str:
    """The address as the client of Redis takes it, which speaks to Valkey just as well."""
    scheme, _, rest = url.partition("://")
    secure = "s" if scheme in ("rediss", "valkeys") else ""
    return f"redis{secure}://{rest}"
