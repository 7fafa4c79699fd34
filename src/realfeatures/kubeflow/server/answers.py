"""Refusing answers that are none: the generated clients read a web page as an empty model."""

import json
from typing import Any


class ForeignAnswerError(Exception):
    """Something answered, such as a sign-in page, but not with the JSON object that an API server answers with."""


def require_json(api_client: Any) -> None:
    """Let a generated client, Kubernetes' or Kubeflow's, refuse an answer that is no JSON object."""
    deserialize = api_client.deserialize

    def checked(response: Any, kind: Any) -> Any:
        try:
            content = json.loads(response.data)
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise ForeignAnswerError
        return deserialize(response, kind)

    api_client.deserialize = checked
