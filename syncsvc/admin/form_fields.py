"""Fields for text of several lines, and for secrets, which go into a form and never come out."""

from typing import Any, ClassVar

from django import forms

from syncsvc.admin.bases import AnyModelForm

TYPE_AGAIN = "Nothing was saved, and a secret is not shown again: type it again, or leave it out."


class LinesField(forms.CharField):
    r"""Text of several lines. A browser ends them with `\r\n`: text that it sends back as it was is no change."""

    def to_python(self, value: Any) -> str:
        return one_line_end(super().to_python(value) or "")

    def has_changed(self, initial: Any, data: Any) -> bool:
        return super().has_changed(one_line_end(initial or ""), data)


class SecretTextarea(forms.Textarea):
    """Never shows what it was given, as a field for a password does."""

    def format_value(self, value: Any) -> None:
        return None


class SecretsForm(AnyModelForm):
    """A form that has to be corrected says of each secret that was typed that it is gone, or it would be left out."""

    write_only: ClassVar[tuple[str, ...]] = ()

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc] # not in the stubs: the model's own validation
        if not self.errors:
            return
        for name in self.write_only:
            if name in self.fields and name not in self.errors and self.data.get(self.add_prefix(name)):
                self.add_error(name, TYPE_AGAIN)


def one_line_end(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
