// The two tabs a first visit opens with. Not a reference: the schema describes itself in the documentation pane.

export const DRIFT_WORK_LIST = `# Payers that changed how they deny, decide,
# approve or pay claims: harmful changes,
# most money at risk first.
#
# 1. Paste an API token into the field above,
#    or sign in at /accounts/login/ first.
# 2. Run with the pink button or Ctrl-Enter.
# 3. The icons on the left open the documentation
#    and the explorer, where ticking fields
#    writes the query.
query DriftWorkList {
  driftEvents(
    first: 10
    orderBy: REVENUE_AT_RISK_DESC
    filter: { harmful: { eq: true } }
  ) {
    totalCount
    edges {
      node {
        # What changed; no group: all claims.
        driftType
        payer { name }
        group { code }
        # From what to what, since when.
        baselineValue
        currentValue
        delta
        severity
        status
        changeOn
        # US dollars over 30 days.
        revenueAtRisk30d
      }
    }
    # Next page: first: 10, after: "<endCursor>"
    pageInfo { hasNextPage endCursor }
  }
}
`;

export const AGENT_RUNS = `# What automated auditors did lately.
# INCONCLUSIVE: a tool could not run,
# which is not a pass.
query LatestAgentRuns {
  agentRuns(first: 5, orderBy: STARTED_AT_DESC) {
    edges {
      node {
        agent { kind name }
        status
        conclusion
        branch
        commit
        startedAt
      }
    }
  }
}
`;
