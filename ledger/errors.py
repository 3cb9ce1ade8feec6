"""Every error we raise on purpose, as one tree; the docstring is the sentence a person reads.

LedgerError
├── NotFound: LedgerUnknown, LogUnknown, ConnectionUnknown, SubjectUnknown, PositionUnknown, GenerationUnknown
├── Refused: BadCredentials, ScopeMissing, RequestInvalid, NameTaken, DeliveryTooLarge, CodingUnknown, NotAwaited,
│   NothingToAdopt, AdjustmentDiffers, NotPromoted, NotConfirmed, FileDamaged, PeriodNotClosable
├── Unavailable: LedgerUnavailable (LedgerBusy), NotSealedYet, WorkersLost, RebuildRuns, RebuildDue,
│   LedgerReadsTooMany
├── SetupWrong: NoData, SchemaOutdated, SchemaUnsupported, RoleTooPowerful, MasterKeyWrong, KeyWrong,
│   EmbeddedPostgresFailed
├── ExportWrong (an exported ledger that is not put back)
├── NoteWrong (a signed note that we do not accept)
├── Unsealable (what a head must not be signed over): EventsChanged, TreeChanged, HeadInconsistent,
│   NotOurs: HeadForgotten, SignerUnknown
├── Unreadable (a payload we cannot read: quarantined, never refused)
└── Unfoldable (a fact a rule cannot fold: its subject is parked)
"""


class LedgerError(Exception):
    """Something went wrong in the ledger."""

    def __str__(self) -> str:
        sentence = (self.__doc__ or "").strip().splitlines()[0]
        return f"{sentence} ({', '.join(str(fact) for fact in self.args)})" if self.args else sentence


class NotFound(LedgerError):
    """There is no such thing in this ledger."""


class LedgerUnknown(NotFound):
    """There is no ledger of this name."""


class LogUnknown(NotFound):
    """There is no log at this address; it may have been withdrawn."""


class ConnectionUnknown(NotFound):
    """There is no connection of this id, or it is disabled."""


class SubjectUnknown(NotFound):
    """Nothing has been told about this in this ledger."""


class PositionUnknown(NotFound):
    """The ledger does not reach this position."""


class GenerationUnknown(NotFound):
    """There is no such generation of the projections."""


class Refused(LedgerError):
    """The request cannot be taken."""


class BadCredentials(Refused):
    """The credentials are missing or wrong."""


class ScopeMissing(Refused):
    """The key does not carry the scope that this needs."""


class RequestInvalid(Refused):
    """The request cannot be understood."""


class NameTaken(Refused):
    """There is already something of this name."""


class PeriodNotClosable(Refused):
    """The period cannot be closed, or opened again, now."""


class DeliveryTooLarge(Refused):
    """The body is larger than a delivery may be."""


class CodingUnknown(Refused):
    """The body has a content coding that is not decoded here."""


class NotAwaited(Refused):
    """The projections did not reach the wanted position in time."""


class NothingToAdopt(Refused):
    """The account agrees with the vendor's claim, or the vendor has never claimed a balance."""


class AdjustmentDiffers(Refused):
    """This id stands for another adjustment."""


class NotPromoted(Refused):
    """The generation cannot take the place of the active one."""


class NotConfirmed(Refused):
    """Nothing is changed: the question was not answered with yes."""


class FileDamaged(Refused):
    """The packed file is damaged or breaks off."""


class Unavailable(LedgerError):
    """This cannot be done now; the same request may be tried again."""


class LedgerUnavailable(Unavailable):
    """The ledger cannot store now; deliver again later."""


class LedgerBusy(LedgerUnavailable):
    """Another writer holds the lock of the ledger; deliver again later."""


class NotSealedYet(Unavailable):
    """No checkpoint covers this yet; one is signed soon, or at once by `loyalty seal`."""


class WorkersLost(Unavailable):
    """The workers of a rebuild died again and again, as they do without memory; what they did is kept."""


class RebuildRuns(Unavailable):
    """A generation is being filled; wait for it, or end it first."""


class RebuildDue(Unavailable):
    """The tables were made by another version of this software and stay as they are; run `loyalty rebuild`."""


class LedgerReadsTooMany(Unavailable):
    """Too many requests of this ledger are being answered; ask again later."""


class SetupWrong(LedgerError):
    """The installation is not as it must be."""


class NoData(SetupWrong):
    """There is no data here: name the folder by --data DIR or LOYALTY_DATA, or a database by DATABASE_URL."""


class SchemaOutdated(SetupWrong):
    """The database is not at the schema this version needs; run `loyalty migrate`."""


class SchemaUnsupported(SetupWrong):
    """The database is at a schema that this version cannot migrate."""


class RoleTooPowerful(SetupWrong):
    """The database role of the service could change or remove events; give it the role loyalty_service only."""


class MasterKeyWrong(SetupWrong):
    """The master key is missing, malformed or not the one this ledger was sealed with."""


class KeyWrong(SetupWrong):
    """The key to sign or to verify with is malformed."""


class EmbeddedPostgresFailed(SetupWrong):
    """The embedded PostgreSQL could not be started or reached."""


class ExportWrong(LedgerError):
    """The exported ledger is not put back: something in it is altered or missing, or the ledger holds other events."""


class NoteWrong(LedgerError):
    """The signed note is malformed, or not signed as it must be."""


class Unsealable(LedgerError):
    """The ledger is not what it was; nothing is signed over it."""


class EventsChanged(Unsealable):
    """Events are missing, or do not have the hash that they were appended with; nothing is signed over them."""


class TreeChanged(Unsealable):
    """Kept hashes do not agree with each other; nothing is signed over them."""


class HeadInconsistent(Unsealable):
    """The ledger does not continue the last head that was signed: it was rewritten or restored; nothing is signed."""


class NotOurs(Unsealable):
    """This is not the signer of this ledger."""


class HeadForgotten(NotOurs):
    """This is not the signer of this ledger: mount its folder (LOYALTY_SIGNER); --adopt only if that is lost."""


class SignerUnknown(NotOurs):
    """This is not the signer of this ledger: mount its folder (LOYALTY_SIGNER); --adopt only if its keys are lost."""


class Unreadable(LedgerError):
    """The payload cannot be read."""


class Unfoldable(LedgerError):
    """A fact cannot be folded; its subject is parked."""

    def __init__(self, projection: str, kind: str, why: str, position: int, folded: int) -> None:
        super().__init__(projection, kind, why, f"position {position}")
        self.position = position
        self.folded = folded  # how many facts before it could be
