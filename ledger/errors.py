"""All errors that this software raises on purpose, as one tree. The first line of a docstring is shown to users.

LedgerError
- NotFound: LedgerUnknown, LogUnknown, ConnectionUnknown, EndpointUnknown, SubjectUnknown, PositionUnknown,
  GenerationUnknown
- Refused: BadCredentials, ScopeMissing, RequestInvalid, NameTaken, DeliveryTooLarge, CodingUnknown,
  ContentTypeUnknown, NotAwaited, NothingToAdopt, AdjustmentDiffers, NotPromoted, NotConfirmed, FileDamaged,
  PeriodNotClosable
- Unavailable: LedgerUnavailable (LedgerBusy), LedgerMoved, MemoryExhausted, NotSealedYet, WorkerEnded, WorkersLost,
  PartFailed, SchedulerUnreachable, RebuildRuns, NoRebuildRuns, RebuildDue, LedgerReadsTooMany
- SetupWrong: NoData, SchemaOutdated, SchemaUnsupported, RoleTooPowerful, MasterKeyWrong, KeyWrong,
  EmbeddedPostgresFailed, WorkerRefused
- BackupFailed, BackupWrong (a backup cannot be made, or is damaged)
- ExportWrong (an exported ledger cannot be restored)
- MoveFailed (a ledger was not moved)
- NoteWrong (a signed note is not accepted)
- Unsealable (no tree head may be signed): EventsChanged, TreeChanged, HeadInconsistent, NotOurs (HeadForgotten,
  SignerUnknown)
- Unreadable (a payload cannot be read: it is quarantined, never refused)
- Unfoldable (a rule cannot fold a fact: its subject is parked)

Class names are stored with the problems of the sealer, so they stay.
"""


class LedgerError(Exception):
    """Something went wrong in the ledger."""

    def __str__(self) -> str:
        sentence = (self.__doc__ or "").strip().splitlines()[0]
        return f"{sentence} ({', '.join(str(fact) for fact in self.args)})" if self.args else sentence


class NotFound(LedgerError):
    """The ledger holds no such object."""


class LedgerUnknown(NotFound):
    """There is no ledger of this name."""


class LogUnknown(NotFound):
    """There is no log at this address; it may have been withdrawn."""


class ConnectionUnknown(NotFound):
    """There is no connection of this id, or it is disabled."""


class EndpointUnknown(NotFound):
    """There is no endpoint of this id."""


class SubjectUnknown(NotFound):
    """The ledger has recorded nothing about this subject."""


class PositionUnknown(NotFound):
    """The ledger has no event at this position yet."""


class GenerationUnknown(NotFound):
    """There is no such generation of the projections; `loyalty generations` lists them."""


class Refused(LedgerError):
    """The request is refused."""


class BadCredentials(Refused):
    """The credentials are missing or wrong."""


class ScopeMissing(Refused):
    """The API key does not have the scope that this request needs."""


class RequestInvalid(Refused):
    """A parameter or a field of the request is missing or invalid."""


class NameTaken(Refused):
    """This name is in use; choose another one."""


class PeriodNotClosable(Refused):
    """The period cannot be closed or reopened now."""


class DeliveryTooLarge(Refused):
    """The body is larger than the limit for a delivery."""


class CodingUnknown(Refused):
    """The content coding of the body is not supported; use gzip, deflate or zstd."""


class ContentTypeUnknown(Refused):
    """The body must be JSON, and its content type `application/json`."""


class NotAwaited(Refused):
    """The projections did not reach `min_position` in time; repeat the request later."""


class NothingToAdopt(Refused):
    """The account has no drift: its balance agrees with the vendor's claim, or the vendor has claimed none."""


class AdjustmentDiffers(Refused):
    """This id belongs to another adjustment; choose a new id."""


class IdempotencyKeyInUse(Refused):
    """A request with this Idempotency-Key is in progress."""


class IdempotencyKeyReused(Refused):
    """This Idempotency-Key was used for another request."""


class NotPromoted(Refused):
    """The generation cannot become the active one."""


class NotConfirmed(Refused):
    """Nothing was changed, because the question was not answered with yes."""


class FileDamaged(Refused):
    """The compressed file is damaged or truncated."""


class Unavailable(LedgerError):
    """This is not possible now; repeat the same request later."""


class LedgerUnavailable(Unavailable):
    """The ledger cannot store events now; deliver again later."""


class MemoryExhausted(Unavailable):
    """The service holds more memory than `LOYALTY_MEMORY_MIB` allows; send the request again later."""


class LedgerBusy(LedgerUnavailable):
    """Another writer holds the lock of the ledger; deliver again later."""


class LedgerMoved(Unavailable):
    """The ledger has moved to another installation; send the request there."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url


class NotSealedYet(Unavailable):
    """No checkpoint covers this position yet; wait for the next one, or sign one by `loyalty seal`."""


class WorkerEnded(Unavailable):
    """A worker process ended before its work was done."""


class WorkersLost(Unavailable):
    """The rebuild's workers ended repeatedly, as they do when memory is short; a new run resumes their work."""


class PartFailed(Unavailable):
    """A worker failed at its part of the rebuild; a new run resumes the work."""


class SchedulerUnreachable(Unavailable):
    """The scheduler does not answer, or refuses the certificates; a new `loyalty rebuild` resumes the work."""


class NoRebuildRuns(Unavailable):
    """No rebuild is running that this host could join; start `loyalty rebuild` on another host first."""


class RebuildRuns(Unavailable):
    """A rebuild is filling a generation; wait for its end, or stop it first."""


class RebuildDue(Unavailable):
    """Another version of this software made the tables, and they are no longer updated; run `loyalty rebuild`."""


class LedgerReadsTooMany(Unavailable):
    """Too many requests of this ledger are in progress; repeat the request later."""


class SetupWrong(LedgerError):
    """The installation is not configured correctly."""


class NoData(SetupWrong):
    """No data is configured: name a folder by --data DIR or LOYALTY_DATA, or a database by DATABASE_URL."""


class SchemaOutdated(SetupWrong):
    """The database has an older schema than this version needs; run `loyalty migrate`."""


class SchemaUnsupported(SetupWrong):
    """The database has a schema that this version cannot migrate."""


class RoleTooPowerful(SetupWrong):
    """The database role of the service could change or remove events; grant it only the role loyalty_service."""


class MasterKeyWrong(SetupWrong):
    """The master key is missing or malformed, or this ledger was encrypted with another one."""


class KeyWrong(SetupWrong):
    """The signing key or the verifier key is malformed."""


class EmbeddedPostgresFailed(SetupWrong):
    """The embedded PostgreSQL could not be started or reached."""


class WorkerRefused(SetupWrong):
    """A worker was refused, because its host is not set up for this rebuild."""


class BackupFailed(LedgerError):
    """The backup could not be made or restored."""


class BackupWrong(LedgerError):
    """The backup cannot be restored: it is damaged or incomplete."""


class ExportWrong(LedgerError):
    """The export cannot be restored: it was altered, a part is missing, or the ledger holds other events."""


class MoveFailed(LedgerError):
    """The ledger was not moved, and takes deliveries here as before."""


class NoteWrong(LedgerError):
    """The signed note is malformed, or lacks a valid signature."""


class Unsealable(LedgerError):
    """No tree head is signed, because the ledger is not in its earlier state."""


class EventsChanged(Unsealable):
    """No tree head is signed, because events are missing or differ from their stored hash."""


class TreeChanged(Unsealable):
    """No tree head is signed, because stored hashes of the tree contradict each other."""


class HeadInconsistent(Unsealable):
    """No tree head is signed: the ledger does not continue the last head; it was rewritten or restored."""


class NotOurs(Unsealable):
    """This signer is not the signer of this ledger."""


class HeadForgotten(NotOurs):
    """This is not the signer of this ledger: mount its folder (LOYALTY_SIGNER); --adopt only if that is lost."""


class SignerUnknown(NotOurs):
    """This is not the signer of this ledger: mount its folder (LOYALTY_SIGNER); --adopt only if its keys are lost."""


class Unreadable(LedgerError):
    """The payload cannot be read."""


class Unfoldable(LedgerError):
    """A fact cannot be folded, so its subject is parked."""

    def __init__(self, projection: str, kind: str, why: str, position: int, folded: int) -> None:
        super().__init__(projection, kind, why, f"position {position}")
        self.position = position
        self.folded = folded  # how many facts before it could be
