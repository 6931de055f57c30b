"""The REST API v2: what clients of Mistral speak, and what Gregale adds. `endpoint` says what every endpoint takes and gives."""

from gregale.api.app import ENDPOINTS, application
from gregale.api.health import health_application
from gregale.api.settings import ApiSettings

__all__ = ["ENDPOINTS", "ApiSettings", "application", "health_application"]
