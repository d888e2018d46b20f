"""The journal: what must outlive the process, in one SQLite file.

    submit -> group_commit -> batch -> rows -\
                                              connection -> SQLite (WAL)
    reads, leases --- store ----------> rows -/

`schema` decides whether a file may be used at all, `lock` that only one sidecar uses it. No other room knows SQL.
"""
