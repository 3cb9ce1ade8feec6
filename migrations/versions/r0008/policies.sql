-- A role sees its own row of ledger.report_roles. Citus accepts no sub-select in a policy of a distributed table. A role
-- that was dropped has no number, and then the condition is null: its row is hidden.
ALTER POLICY own_role ON ledger.report_roles
    USING (pg_has_role(to_regrole(quote_ident(role_name::text)), 'USAGE'));
