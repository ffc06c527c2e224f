#!/usr/bin/env python3
"""The console as a person uses it, in Chromium; and its refusals, by plain HTTP.

    python console_e2e.py --console http://127.0.0.1:5110 --password-file FILE --question "…" --expect-document NAME [--screenshot FILE.png]

Needs PyPI `playwright` and Debian's Chromium. Prints one line per check; exit code 1 with the reason when one fails.
"""

import argparse
import http.client
import pathlib
import re
import sys
import urllib.parse

from playwright.sync_api import expect, sync_playwright

FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
ANSWER_MS = 90_000


def done(what):
    print(f"ok: {what}", flush=True)


def plain(base, method, path, headers=None, body=None):
    """One request without a browser; returns status, headers, text."""
    url = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
    headers = dict(headers or {})
    connection.putrequest(method, path, skip_host="Host" in headers)
    if body is not None:
        headers.setdefault("Content-Length", str(len(body)))
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    text = response.read().decode("utf-8", "replace")
    connection.close()
    return response.status, response.headers, text


def check_refusals(base):
    status, _, _ = plain(base, "GET", "/login", {"Host": "evil.example"})
    assert status == 403, f"a foreign Host got {status}"
    done("a foreign Host is refused")

    status, headers, _ = plain(base, "GET", "/")
    assert status == 303 and headers["location"] == "/login", f"no session: {status}"
    for path in ["/api/status", "/api/history", "/api/chunks/x"]:
        status, _, _ = plain(base, "GET", path)
        assert status == 401, f"{path} without a session: {status}"
    for path in ["/api/ask", "/api/feedback"]:
        status, _, _ = plain(base, "POST", path, {"Content-Type": "application/json"}, b"{}")
        assert status == 401, f"{path} without a session: {status}"
    done("nothing is served without a session")

    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, _ = plain(base, "POST", "/login", form, b"form_token=x&password=y")
    assert status == 403, f"a login without its form got {status}"
    done("a login from elsewhere is refused")

    _, headers, _ = plain(base, "GET", "/login")
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy, policy
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "same-origin"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie, cookie
    done("the security headers are there")


def check_csrf(base, context):
    jar = "; ".join(f"{c['name']}={c['value']}" for c in context.cookies())
    headers = {"Cookie": jar, "Content-Type": "application/json"}
    status, _, _ = plain(base, "GET", "/api/status", {"Cookie": jar})
    assert status == 200, f"the session's cookie alone reads the status: {status}"
    for path, body in [("/api/ask", b'{"question":"x"}'), ("/api/feedback", b'{"interaction_id":"x","verdict":"up"}')]:
        status, _, _ = plain(base, "POST", path, headers, body)
        assert status == 403, f"{path} without the CSRF token: {status}"
        status, _, _ = plain(base, "POST", path, headers | {"X-CSRF-Token": "0" * 64}, body)
        assert status == 403, f"{path} with a wrong CSRF token: {status}"
    form = {"Cookie": jar, "Content-Type": "application/x-www-form-urlencoded"}
    status, _, _ = plain(base, "POST", "/logout", form, b"csrf=0")
    assert status == 403, f"a logout without the CSRF token: {status}"
    done("changes without the CSRF token are refused")


def log_in(page, base, password):
    page.goto(base)
    expect(page).to_have_url(re.compile(r"/login$"))
    field = page.get_by_label(re.compile("^(Password|Passwort)$"))
    button = page.get_by_role("button", name=re.compile("^(Log in|Anmelden)$"))
    field.fill("not-the-password")
    button.click()
    expect(page.get_by_role("alert")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/login$"))
    done("a wrong password is refused")
    page.get_by_label(re.compile("^(Password|Passwort)$")).fill(password)
    page.get_by_role("button", name=re.compile("^(Log in|Anmelden)$")).click()
    # One wrong attempt may cost a short wait; the page then says how long.
    alert = page.get_by_role("alert")
    if alert.count() and (wait := re.search(r"(\d+)", alert.inner_text())):
        page.wait_for_timeout((int(wait.group(1)) + 1) * 1000)
        page.get_by_label(re.compile("^(Password|Passwort)$")).fill(password)
        page.get_by_role("button", name=re.compile("^(Log in|Anmelden)$")).click()
    expect(page.locator("#question")).to_be_visible()
    done("the right password opens the page")


def ask(page, question, document):
    box = page.locator("#question")
    box.fill(question)
    box.press("Control+Enter")
    exchange = page.locator(".exchange").last
    expect(exchange.locator("h2")).to_have_text(question)
    expect(exchange.locator(".chip").first).to_be_visible(timeout=ANSWER_MS)
    expect(exchange.locator(".foot")).to_be_visible(timeout=ANSWER_MS)
    answer = exchange.locator(".answer").inner_text()
    assert len(answer.strip()) > 2, "the answer is empty"
    source = exchange.locator(".source", has_text=document)
    expect(source.first).to_be_visible()
    done(f"the answer cites {document}: {' '.join(answer.split())[:140]}")
    return exchange


def open_passage(page, exchange, document):
    chip = exchange.locator(".chip").first
    chip.click()
    panel = page.locator("#passage")
    expect(panel).to_be_visible()
    expect(panel.locator("h2")).to_contain_text(document)
    expect(panel.locator("mark, tr.marked").first).to_be_visible()
    expect(chip).to_have_attribute("aria-expanded", "true")
    done(f"the passage is shown with its quote marked: {panel.locator('mark, tr.marked').first.inner_text()[:100]!r}")


def close_passage(page, exchange):
    page.keyboard.press("Escape")
    expect(page.locator("#passage")).to_be_hidden()
    expect(exchange.locator(".chip").first).to_be_focused()
    done("Escape closes the passage and gives the focus back")


def judge(page, exchange):
    up = exchange.locator(".thumb[data-verdict=up]")
    with page.expect_response("**/api/feedback") as answered:
        up.click()
    assert answered.value.status == 204, f"feedback: {answered.value.status}"
    expect(up).to_have_attribute("aria-pressed", "true")
    exchange.locator(".thumb[data-verdict=down]").click()
    exchange.locator(".correction textarea").fill("Eine Korrektur aus dem Browsertest.")
    with page.expect_response("**/api/feedback") as answered:
        exchange.locator(".correction button[type=submit]").click()
    assert answered.value.status == 204, f"correction: {answered.value.status}"
    expect(exchange.locator(".correction")).to_have_count(0)
    done("thumbs and a correction are taken")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--console", required=True)
    parser.add_argument("--password-file", required=True, type=pathlib.Path)
    parser.add_argument("--question", required=True)
    parser.add_argument("--expect-document", required=True)
    parser.add_argument("--screenshot", type=pathlib.Path)
    args = parser.parse_args()
    base = args.console.rstrip("/")
    password = args.password_file.read_text(encoding="utf-8").strip()

    check_refusals(base)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        context = browser.new_context(locale="de-DE", viewport={"width": 1360, "height": 860})
        page = context.new_page()
        faults = []
        page.add_init_script("document.addEventListener('securitypolicyviolation', (e) => console.error('CSP ' + e.violatedDirective + ' ' + e.blockedURI))")
        # A refused login is a 4xx on purpose; everything else the browser complains about is a fault.
        page.on("console", lambda m: faults.append(m.text) if m.type == "error" and "status of 4" not in m.text else None)
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.on("request", lambda r: faults.append(f"foreign request {r.url}") if not r.url.startswith(base) else None)

        log_in(page, base, password)
        check_csrf(base, context)
        exchange = ask(page, args.question, args.expect_document)
        open_passage(page, exchange, args.expect_document)
        if args.screenshot:
            page.screenshot(path=args.screenshot)
        close_passage(page, exchange)
        judge(page, exchange)
        expect(page.locator("#status [data-is=state]")).not_to_have_text(re.compile("…"))
        page.reload()
        expect(page.locator(".exchange h2").first).to_have_text(args.question)
        done("a reload keeps the session's history")

        page.set_viewport_size({"width": 375, "height": 720})
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 375, f"the page is {width} px wide on a phone"
        page.locator(".chip").first.click()
        expect(page.locator("#passage")).to_be_visible()
        if args.screenshot:
            page.emulate_media(color_scheme="dark")
            page.screenshot(path=args.screenshot.with_stem(args.screenshot.stem + "-phone"))
        page.keyboard.press("Escape")
        done("it fits a phone")

        page.set_viewport_size({"width": 1360, "height": 860})
        page.get_by_role("button", name=re.compile("^(Log out|Abmelden)$")).click()
        expect(page).to_have_url(re.compile(r"/login$"))
        page.goto(base)
        expect(page).to_have_url(re.compile(r"/login$"))
        done("logging out ends the session")
        assert not faults, f"the browser complained: {faults}"
        done("no violation of the content policy, no foreign request, no script error")
        browser.close()


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        print(f"failed: {error}", file=sys.stderr)
        sys.exit(1)
