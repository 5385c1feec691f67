"""Errors, the audit and a used password as a person sees them."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from syncsvc.logins.one_time import one_time_hash
from tests.browser.conftest import log_in
from tests.browser.looking import look
from tests.factories import AppFactory


def test_an_error_has_the_consoles_frame_or_leads_to_the_login(
    console: Page, axe: Callable[[Page], None], complaints: list[str]
) -> None:
    for name, address in (("404", "/admin/nowhere/"), ("405", f"/admin/syncsvc/app/{AppFactory().pk}/test/")):
        console.goto(address)
        look(console, f"error-{name}")
        axe(console)
        expect(console.get_by_role("navigation", name="Console")).to_be_visible()
        console.locator("#content").get_by_role("link", name="Overview").click()
        expect(console.get_by_role("heading", level=1)).to_be_visible()
    console.context.clear_cookies()
    console.goto("/nowhere")
    look(console, "error-404-stranger")
    axe(console)
    console.get_by_role("link", name="Log in").click()
    expect(console.get_by_role("button", name="Log in")).to_be_visible()
    assert len(complaints) == 3  # the browser's own, of the statuses
    complaints.clear()


def test_a_one_time_password_opens_once_and_the_audit_has_it(
    page: Page, django_user_model: type, axe: Callable[[Page], None]
) -> None:
    once = django_user_model.objects.create_superuser("operator")  # type: ignore[attr-defined]
    once.password = one_time_hash("open sesame")
    once.save()
    page.goto("/admin/login/?next=//evil.example/")
    log_in(page)
    expect(page).to_have_url(re.compile(r"/admin/password_change/$"))
    look(page, "password-change")
    page.get_by_text("operator", exact=True).click()
    page.get_by_role("button", name="Log out").click()
    page.goto("/admin/")
    page.get_by_label("Username").fill("operator")
    page.get_by_label("Password").fill("open sesame")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("This password was good for one login, and has been used.")).to_be_visible()
    look(page, "login-used")
    axe(page)
