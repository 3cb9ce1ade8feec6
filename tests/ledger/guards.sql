-- List every grant, trigger and policy, one a line. Rights of owners are left out: they are those of the role that migrated.
SELECT format('schema %s: %s may %s', nspname, grantee::regrole, string_agg(privilege_type, ', ' ORDER BY privilege_type)) AS line
  FROM pg_namespace, aclexplode(nspacl)
 WHERE nspname IN ('ledger', 'projections', 'outgoing', 'generation_1') AND grantee <> nspowner GROUP BY nspname, grantee
UNION ALL
SELECT format('table %s: %s may %s', c.oid::regclass, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
              string_agg(privilege_type, ', ' ORDER BY privilege_type))
  FROM pg_class c, aclexplode(relacl)
 WHERE relnamespace IN ('ledger'::regnamespace, 'projections'::regnamespace, 'outgoing'::regnamespace) AND grantee <> relowner GROUP BY c.oid, grantee
UNION ALL
SELECT DISTINCT format('table generation_1.*: %s may %s', grantee::regrole, string_agg(privilege_type, ', ' ORDER BY privilege_type))
  FROM pg_class c, aclexplode(relacl)
 WHERE relnamespace = 'generation_1'::regnamespace AND relkind = 'r' AND grantee <> relowner GROUP BY c.oid, grantee
UNION ALL
SELECT format('column %s.%s: %s may %s', attrelid::regclass, attname, grantee::regrole, privilege_type)
  FROM pg_attribute, aclexplode(attacl)
 WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'ledger'::regnamespace)
UNION ALL
SELECT format('function %s: %s may %s', p.oid::regproc, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END, privilege_type)
  FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner)))
 WHERE pronamespace = 'ledger'::regnamespace AND grantee <> proowner
UNION ALL
SELECT format('function %s runs as its owner, %s', p.oid::regproc,
              CASE WHEN array_to_string(proconfig, ' ') LIKE '%search_path=pg_catalog, pg_temp%' THEN 'search_path fixed' ELSE 'SEARCH_PATH OPEN' END)
  FROM pg_proc p WHERE pronamespace = 'ledger'::regnamespace AND prosecdef
UNION ALL
SELECT format('trigger %s on %s, %s: %s', tgname, tgrelid::regclass, CASE tgenabled WHEN 'A' THEN 'always' ELSE 'NOT ALWAYS' END,
              regexp_replace(pg_get_triggerdef(t.oid), '^CREATE TRIGGER \S+ (.*?) ON \S+ (.*)$', '\1 \2'))
  FROM pg_trigger t
 WHERE NOT tgisinternal AND tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'ledger'::regnamespace)
UNION ALL
SELECT format('policy %s on %s.%s for %s to %s: %s', policyname, schemaname, tablename, cmd, array_to_string(roles, ', '), regexp_replace(qual, '\s+', ' ', 'g'))
  FROM pg_policies WHERE schemaname IN ('ledger', 'outgoing')
UNION ALL
SELECT DISTINCT format('policy %s on generation_1.* for %s to %s: %s', policyname, cmd, array_to_string(roles, ', '), regexp_replace(qual, '\s+', ' ', 'g'))
  FROM pg_policies WHERE schemaname = 'generation_1'
UNION ALL
SELECT format('role %s is in %s', m.rolname, g.rolname)
  FROM pg_auth_members a JOIN pg_roles g ON g.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
 WHERE g.rolname = ANY ($1) AND m.rolname = ANY ($1)
UNION ALL
SELECT format('role %s %s', rolname, CASE WHEN rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb
                                          THEN 'MAY TOO MUCH' ELSE 'cannot log in' END)
  FROM pg_roles WHERE rolname = ANY ($1)
