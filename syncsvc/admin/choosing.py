"""The field in which a row is chosen by searching for it."""

from typing import Any

from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import ValidationError


class RowSelect(AutocompleteSelect):
    """Shows the form again where the posted value is not an id; Django's own widget fails there."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        return super().optgroups(name, [one for one in value if self._is_id(one)], attr)

    def _is_id(self, text: Any) -> bool:
        try:
            self.field.target_field.to_python(text)
        except ValidationError:
            return False
        return True
