"use strict";
/* What the console does beside htmx: the dialog, busy buttons, toasts, live parts, and what is said when the server is away. */
(() => {
    const BUSY_MS = 200;
    const TOAST_MS = 6000;
    const RETRY_MS = 3000;
    const dialog = document.getElementById("dialog");
    const banner = document.getElementById("connection");
    const words = { 403: "Refused: you may not do this, or the page is out of date. Reload it.", 404: "It is no longer there. Reload the page." };

    const make = (tag, attributes, ...children) => {
        const element = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
        element.append(...children);
        return element;
    };

    /* Outside of an open dialog nothing is seen or read. */
    const refuse = (text) => {
        dialog.querySelectorAll(".refused").forEach((old) => old.remove());
        dialog.querySelector("#dialog-title").after(make("p", { class: "refused", role: "alert" }, text));
    };

    /* Toasts: what went well goes by itself, unless one looks at it; what did not stays until it is dismissed. */
    const toast = ({ level, text }) => {
        const stays = level === "error" || level === "warning";
        if (stays && dialog.open) return refuse(text);
        const region = document.querySelector(`#toasts > [role=${stays ? "alert" : "status"}]`);
        region.querySelectorAll(".toast").forEach((shown) => shown.dataset.text === text && shown.remove()); // said anew
        const close = make("button", { type: "button", class: "close", "aria-label": "Dismiss" });
        const shown = make("div", { class: `toast ${level}`, "data-text": text }, make("p", {}, text), close);
        close.addEventListener("click", () => shown.remove());
        region.append(shown);
        if (stays) return;
        const go = () => {
            if (shown.matches(":hover, :focus-within")) setTimeout(go, 1000);
            else shown.remove();
        };
        setTimeout(go, TOAST_MS);
    };
    document.body.addEventListener("toast", (event) => (event.detail.toasts || [event.detail]).forEach(toast));

    /* Messages of the page become toasts, but for those that hold more than words: a secret, an answer. */
    for (const message of document.querySelectorAll(".messagelist > li:not(:has(*))")) {
        toast({ level: message.className.split(" ").pop() || "info", text: message.textContent.trim() });
        message.remove();
    }
    document.querySelectorAll(".messagelist:not(:has(li))").forEach((list) => list.remove());

    /* Busy buttons. */
    const busySince = new WeakMap();
    const focused = new WeakSet();
    let last = null; // the button that was pressed, until one goes elsewhere
    const busy = (button) => {
        busySince.set(button, Date.now());
        button.disabled = true;
        button.setAttribute("aria-busy", "true");
    };
    /* The same button after the part that holds it was swapped. */
    const present = (button) => {
        if (!button || button.isConnected) return button;
        return document.querySelector(`form.press[action="${CSS.escape(button.form?.getAttribute("action") || "")}"] button`);
    };
    const refocus = (button) => document.activeElement === document.body && !dialog.open && present(button)?.focus();
    const free = (button) => {
        const left = BUSY_MS - (Date.now() - (busySince.get(button) || 0));
        setTimeout(() => {
            button.disabled = false;
            button.removeAttribute("aria-busy");
            if (!focused.has(button)) return;
            focused.delete(button);
            refocus(button);
            setTimeout(refocus, 2 * BUSY_MS, button); // its part may be swapped next
        }, Math.max(0, left));
    };
    const buttonOf = (element, event) => {
        if (event?.submitter) return event.submitter;
        if (element.matches("button")) return element;
        return element.matches("form") ? element.querySelector("button[type=submit], button:not([type])") : null;
    };
    document.addEventListener("submit", (event) => {
        const button = buttonOf(event.target, event);
        if (!button || event.defaultPrevented || event.target.method === "dialog") return;
        setTimeout(() => busy(button)); // after the form is on its way, with the button's own value
    });
    addEventListener("pageshow", () => document.querySelectorAll("[aria-busy=true]").forEach(free));

    /* Focus stays where it was when a part is swapped: on the same element, else on the link of its row, else in its part. */
    let places = [];
    const leave = () => {
        last = null;
        places = [];
    };
    document.addEventListener("pointerdown", leave);
    document.addEventListener("keydown", ({ key }) => key === "Tab" && leave());
    const placesOf = (element) => {
        const link = element.closest("a[href]") || element.closest("li, tr")?.querySelector("a[href]");
        const part = CSS.escape(element.parentElement?.closest("[id]:not(form)")?.id || "content-start");
        const forms = [...(element.closest(".press-row")?.querySelectorAll("form.press") || [])];
        const nth = forms.findIndex((form) => form.contains(element)) + 1; // Resume stands where Pause stood
        const places = [`#${part} .operation-bar a`, `#${part} form.press:nth-of-type(${nth}) button`, `#${part} button:enabled`, `#${part} a[href]`];
        if (link) places.unshift(`a[href="${CSS.escape(link.getAttribute("href"))}"]`);
        return element.id ? [`#${CSS.escape(element.id)}`, ...places] : places;
    };
    document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
        const here = [document.activeElement, last].find((element) => element && element !== document.body && detail.target.contains(element));
        if (here && !dialog.contains(here)) places = placesOf(here);
    });
    document.body.addEventListener("htmx:afterSettle", () => {
        if (document.activeElement !== document.body || dialog.open) return;
        places.map((place) => document.querySelector(place)).find((element) => element)?.focus({ preventScroll: true });
        places = [];
    });

    /* A part waits while one of its own buttons is on its way: the answer, and what it says, would be lost with the button. */
    const waiting = new Set();
    document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
        if (!detail.target.querySelector?.("form.press.htmx-request") || detail.target === dialog) return;
        detail.shouldSwap = false;
        waiting.add(detail.target);
    });
    document.body.addEventListener("htmx:afterRequest", ({ detail }) => {
        if (!detail.requestConfig.elt.matches("form.press")) return;
        waiting.forEach((part) => part.isConnected && htmx.trigger(part, "poll"));
        waiting.clear();
    });

    /* A part that hears of a change while an answer is on its way, or waits to be swapped in, asks once more after it: the
       answer may be older than the change, and htmx drops what the element that is swapped away still had to ask. */
    const again = new Set();
    for (const name of ["changed", "moved"]) {
        const mark = () => {
            const parts = document.querySelectorAll(`[id][hx-trigger*="${name} from:body"]`);
            parts.forEach((part) => part.matches(".htmx-request, .htmx-swapping") && again.add(part.id));
        };
        document.addEventListener(name, mark, true); // before htmx hears it and the part asks for this change itself
    }
    document.body.addEventListener("htmx:afterSettle", ({ target }) => again.delete(target.id) && htmx.trigger(target, "poll"));

    /* The dialog: filled by htmx, opened here, closed by Escape, Cancel and a click beside it. */
    let opener = null;
    const close = () => dialog.open && dialog.close();
    dialog.addEventListener("close", () => {
        dialog.replaceChildren();
        const back = opener;
        opener = null;
        last = back;
        (present(back) || document.getElementById("content-start")).focus();
        setTimeout(refocus, 2 * BUSY_MS, back);
    });
    let outside = false; // who selects text, and lets go beside it, has not clicked there
    dialog.addEventListener("pointerdown", (event) => (outside = event.target === dialog));
    dialog.addEventListener("click", (event) => {
        if ((outside && event.target === dialog) || event.target.closest("[data-cancel]")) close();
    });
    document.body.addEventListener("close-dialog", close);
    const told = (xhr, event) => (xhr.getResponseHeader("HX-Trigger") || "").includes(event);

    /* Actions of a list that ask first do so in the dialog. */
    document.addEventListener("submit", (event) => {
        const form = event.target;
        const named = form.querySelector("[data-dialog-actions]")?.dataset.dialogActions.split(" ") || [];
        if (!named.includes(form.elements.action?.value) || event.submitter?.name !== "index") return;
        if (!form.querySelector(".action-select:checked")) return;
        event.preventDefault();
        htmx.ajax("POST", location.pathname + location.search, { source: form, target: dialog, swap: "innerHTML" });
    }, true);

    document.addEventListener("click", (event) => {
        const link = event.target.closest("a.deletelink");
        if (!link || !document.body.matches(".model-app, .model-repository, .model-subscription")) return; // others ask on a page
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        htmx.ajax("GET", link.href, { source: link, target: dialog, swap: "innerHTML" });
    });

    document.body.addEventListener("htmx:beforeRequest", ({ detail }) => {
        const button = buttonOf(detail.elt, detail.requestConfig.triggeringEvent);
        detail.xhr.pressed = button;
        if (detail.target === dialog && !dialog.open) opener = button || document.activeElement;
        if (!button) return;
        if (document.activeElement === button) focused.add(button);
        if (focused.has(button) && !dialog.contains(button)) last = button;
        busy(button);
    });
    document.body.addEventListener("htmx:afterSwap", ({ detail }) => {
        if (detail.target !== dialog || !dialog.firstElementChild || told(detail.xhr, "close-dialog")) return;
        htmx.process(dialog); // now, and not a moment later: one may be quick to press Enter
        if (!dialog.open) dialog.showModal();
        const first = dialog.querySelector("[autofocus]");
        first?.focus();
        first?.removeAttribute("autofocus"); // or htmx takes focus back to it a moment later
    });

    /* `details` that are open stay so when a live part is swapped. */
    let opened = [];
    document.body.addEventListener("htmx:beforeSwap", ({ detail }) => {
        opened = [...(detail.target.querySelectorAll?.("details[id][open]") || [])].map((details) => details.id);
    });
    document.body.addEventListener("htmx:afterSettle", () => {
        opened.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
        opened = [];
    });

    /* Live parts: `data-every` says after how many seconds; a hidden tab asks for nothing, and at once when it is shown. */
    const asked = new WeakMap();
    const ask = (part) => {
        asked.set(part, Date.now());
        if (!part.classList.contains("htmx-request")) htmx.trigger(part, "poll");
    };
    const parts = () => document.querySelectorAll("[data-every]");
    setInterval(() => {
        if (document.hidden) return;
        for (const part of parts()) {
            if (!asked.has(part)) asked.set(part, Date.now());
            if (Date.now() - asked.get(part) >= Number(part.dataset.every) * 1000) ask(part);
        }
    }, 250);
    document.addEventListener("visibilitychange", () => document.hidden || parts().forEach(ask));

    /* What changed, or is changed by an operation that runs, shows in the badges of the subscriptions on the page. */
    const refreshBadges = () => {
        const shown = document.querySelectorAll("[data-subscription]:not([data-every])");
        const ids = new Set([...shown].map((badge) => badge.dataset.subscription));
        const url = `${document.body.dataset.statuses}?ids=${[...ids].join(",")}`;
        if (ids.size) htmx.ajax("GET", url, { source: document.body, swap: "none" });
    };
    document.body.addEventListener("changed", () => setTimeout(refreshBadges)); // after what came with it is in its place
    document.body.addEventListener("htmx:afterSwap", ({ detail }) => {
        if (detail.requestConfig?.path.endsWith("part=bar") && !told(detail.xhr, "changed")) refreshBadges();
    });

    /* The server is away: said once, with the time of what one sees; asked again until it is there. */
    let heard = new Date();
    let lost = null;
    const found = () => {
        heard = new Date();
        if (!lost) return;
        clearInterval(lost);
        lost = null;
        banner.replaceChildren();
        parts().forEach(ask);
    };
    const lose = () => {
        if (lost) return;
        const since = heard.toLocaleTimeString("en-GB");
        banner.textContent = `No connection to syncsvc. What you see is from ${since}; trying again.`;
        const again = () => !document.hidden && fetch("/healthz", { cache: "no-store" }).then((answer) => answer.ok && found(), () => {});
        lost = setInterval(again, RETRY_MS);
    };
    /* A part whose answer is an error goes on asking: what it shows may be old. */
    const erring = new Set();
    const err = (part) => {
        if (!erring.size && !lost) banner.textContent = `An error within syncsvc; its log says more. What you see is from ${heard.toLocaleTimeString("en-GB")}; trying again.`;
        erring.add(part.id);
    };
    const failed = (detail, why) => {
        const button = detail.xhr.pressed;
        if (button) toast({ level: "error", text: `${button.dataset.failed || `Failed: ${button.textContent.trim()}`}: ${why}` });
    };
    const away = ({ detail }) => {
        lose();
        failed(detail, "no connection to syncsvc.");
    };
    document.body.addEventListener("htmx:sendError", away);
    document.body.addEventListener("htmx:timeout", away);
    document.body.addEventListener("htmx:afterRequest", ({ detail }) => {
        const { xhr, elt } = detail;
        if (xhr.pressed) free(xhr.pressed);
        if (xhr.status === 286 && !waiting.has(elt)) elt.removeAttribute("data-every");
        if (xhr.status > 0 && xhr.status < 500) found();
        if (detail.successful && erring.delete(detail.requestConfig.elt.id) && !erring.size && !lost) banner.replaceChildren();
    });
    document.body.addEventListener("htmx:responseError", ({ detail }) => {
        const { status } = detail.xhr;
        if (status === 401) return;
        if (status >= 502 && status <= 504) return away({ detail });
        if (status >= 500 && !detail.xhr.pressed) return err(detail.elt);
        if (status >= 500) return failed(detail, "an error within syncsvc; its log says more.");
        detail.elt.removeAttribute("data-every"); // it would be refused for ever
        toast({ level: "error", text: words[status] || `syncsvc answered ${status}. Reload the page.` });
    });

    /* The login has expired: everything stops, and a link leads back here. */
    document.body.addEventListener("logged-out", ({ detail }) => {
        close();
        parts().forEach((part) => part.removeAttribute("data-every"));
        const link = make("a", { href: `${detail.login}?${new URLSearchParams({ next: location.pathname + location.search })}` }, "Log in again");
        banner.replaceChildren("You are logged out. ", link);
    });

    /* Menus close by Escape and by a click elsewhere. */
    document.addEventListener("click", (event) => {
        document.querySelectorAll("details.menu[open]").forEach((menu) => menu.contains(event.target) || menu.removeAttribute("open"));
    });
    document.addEventListener("keydown", (event) => {
        const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
        if (!menu) return;
        menu.removeAttribute("open");
        menu.querySelector("summary").focus();
    });

    /* A field that suggests what is there while one types; what it sends is the id of what was taken. */
    for (const field of document.querySelectorAll("[data-suggestions]")) {
        const ids = new Map([[field.defaultValue, field.dataset.id]]);
        const list = make("datalist", { id: `suggestions-${field.name}` });
        const suggest = async () => {
            const answer = await fetch(`${field.dataset.suggestions}&${new URLSearchParams({ term: field.value })}`).catch(() => null);
            if (!answer?.ok || answer.redirected) return;
            const { results } = await answer.json();
            results.forEach(({ id, text }) => ids.set(text, id));
            list.replaceChildren(...results.map(({ text }) => make("option", { value: text })));
        };
        let typed;
        field.after(list);
        field.setAttribute("list", list.id);
        field.addEventListener("input", () => {
            clearTimeout(typed);
            typed = setTimeout(suggest, 150);
        });
        field.addEventListener("focus", suggest, { once: true });
        field.form.addEventListener("submit", () => (field.value = ids.get(field.value) || field.value));
    }

    /* select2 names its fields by their value alone. */
    window.django?.jQuery?.(() => {
        for (const select of document.querySelectorAll("select.select2-hidden-accessible")) {
            const name = select.getAttribute("aria-label") || select.labels[0]?.textContent.replace(":", "").trim() || "Choice";
            select.nextElementSibling.querySelectorAll("[role=combobox], [role=textbox]").forEach((field) => {
                field.removeAttribute("aria-labelledby");
                field.setAttribute("aria-label", name);
            });
        }
    });

    /* The settings of a row are open where the address names them. */
    const settings = () => location.hash === "#settings" && document.getElementById("settings")?.setAttribute("open", "");
    addEventListener("hashchange", settings);
    settings();
})();
