"""The engine: the events of a ledger become the facts and rows of a generation, batch by batch.

In the order of calls:

1. worker.py: the loop over generations and ledgers, on the connections of followed_generations.py.
2. advance.py: one batch in one transaction.
3. conflicts.py: the events that a policy selects. groups.py: the subjects that are folded as one.
4. fold_subjects.py: load, fold, compare and write the touched subjects. cache.py, snapshots.py and store.py hold them.
5. subject_history.py: the fold of one subject, with the rules of its projection.
6. row_changes.py: the rows that differ. progress.py: the callers that wait for a position.

Beside the batches: parked.py and retry.py, conflict_policies.py. Around the tables: generations.py, promotion.py,
shared_tables.py and digest.py.
"""
