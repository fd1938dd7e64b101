"""The rule that adapts nothing."""

from typing import Any

from mutatis._rule import AbstractRule
from mutatis._types import Key, Tree


class NoAdaptation(AbstractRule):
    """The model stays as it is: empirical risk minimisation, multi-task learning."""

    def init(self, model: Any) -> None:
        """No state."""
        del model

    def update(self, model: Any, state: None, context: Tree, *, key: Key) -> None:
        """The context is not looked at."""
        del model, state, context, key

    def bind(self, model: Any, state: None) -> Any:
        """The model itself."""
        del state
        return model
