"""Django's generic classes as the type checker wants them named; at run time they take no parameters."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin
from django.core.paginator import Paginator

if TYPE_CHECKING:
    from syncsvc.models import ApiToken

    ModelAdmin = admin.ModelAdmin[Any]
    RowPaginator = Paginator[Any]
    AnyModelForm = forms.ModelForm[Any]
    TokenModelForm = forms.ModelForm[ApiToken]
else:
    ModelAdmin = admin.ModelAdmin
    RowPaginator = Paginator
    AnyModelForm = TokenModelForm = forms.ModelForm
