"""Settings, read from `nightreel.toml` and NIGHTREEL_* environment variables, with a class for each section.

Precedence: environment, then the file, then the default. `home` is the folder below which everything is
written.
"""

from nightreel.core.settings.browse import BrowseSettings
from nightreel.core.settings.cluster import ClusterSettings
from nightreel.core.settings.data import AUTO_IDS, NO_TEXT_IDS, DataSettings
from nightreel.core.settings.database import DatabaseSettings
from nightreel.core.settings.described import Origin, describe, origins
from nightreel.core.settings.evaluation import EvaluationSettings
from nightreel.core.settings.experiments import ArmSettings, ExperimentSettings
from nightreel.core.settings.features import FeatureSettings
from nightreel.core.settings.lightgbm_tables import LightgbmSettings, RegressorSettings
from nightreel.core.settings.lists import ListSettings
from nightreel.core.settings.loading import (
    SETTINGS_FILE,
    find_settings_file,
    load_settings,
    require_home,
    settings_file,
    settings_of_home,
)
from nightreel.core.settings.names import ENVIRONMENT_PREFIX
from nightreel.core.settings.paths import Paths
from nightreel.core.settings.ranker import RankerSettings
from nightreel.core.settings.retrieval import CANDIDATE_SOURCES, RETRIEVAL_SOURCES, RetrievalSettings
from nightreel.core.settings.schedule import ScheduleSettings
from nightreel.core.settings.settings import Settings
from nightreel.core.settings.urls import URL_SCHEMES, masked_url, parsed_url, url_of, working_folder

__all__ = [
    "AUTO_IDS",
    "CANDIDATE_SOURCES",
    "ENVIRONMENT_PREFIX",
    "NO_TEXT_IDS",
    "RETRIEVAL_SOURCES",
    "SETTINGS_FILE",
    "URL_SCHEMES",
    "ArmSettings",
    "BrowseSettings",
    "ClusterSettings",
    "DataSettings",
    "DatabaseSettings",
    "EvaluationSettings",
    "ExperimentSettings",
    "FeatureSettings",
    "LightgbmSettings",
    "ListSettings",
    "Origin",
    "Paths",
    "RankerSettings",
    "RegressorSettings",
    "RetrievalSettings",
    "ScheduleSettings",
    "Settings",
    "describe",
    "find_settings_file",
    "load_settings",
    "masked_url",
    "origins",
    "parsed_url",
    "require_home",
    "settings_file",
    "settings_of_home",
    "url_of",
    "working_folder",
]
