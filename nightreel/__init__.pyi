from nightreel.api.fitted import Fitted as Fitted
from nightreel.api.fitted import fit as fit
from nightreel.api.home import Home as Home
from nightreel.api.home import open_home as open
from nightreel.core.errors import AuditError as AuditError
from nightreel.core.errors import BusyError as BusyError
from nightreel.core.errors import InputError as InputError
from nightreel.core.errors import NightreelError as NightreelError
from pipelines.retrieval.other_python import OtherPython as OtherPython
from pipelines.retrieval.own import Recommender as Recommender
from scoring.explain import Explanation as Explanation
from scoring.lists.last_stage import LastStage as LastStage

__version__: str
__all__ = [
    "AuditError",
    "BusyError",
    "Explanation",
    "Fitted",
    "Home",
    "InputError",
    "LastStage",
    "NightreelError",
    "OtherPython",
    "Recommender",
    "__version__",
    "fit",
    "open",
]
