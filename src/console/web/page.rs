//! The two pages, rendered on the server.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::strings::Locale;

/// What the question page shows before its script runs.
pub(crate) struct Page<'a> {
    pub(crate) locale: Locale,
    pub(crate) customer: &'a str,
    pub(crate) csrf: &'a str,
}

fn frame(locale: Locale, title: &str, head: Markup, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang=(locale.tag()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover";
                meta name="robots" content="noindex";
                title { (title) }
                link rel="icon" href="/assets/icon.svg" type="image/svg+xml";
                link rel="stylesheet" href="/assets/app.css";
                (head)
            }
            (body)
        }
    }
}

/// Renders the login page; it asks for a name where there are others than the administrator, and `message` says why the last attempt
/// failed.
pub(crate) fn login(
    locale: Locale,
    customer: &str,
    form_token: &str,
    (asks_name, message): (bool, Option<&str>),
) -> Markup {
    let words = locale.words();
    let title = format!("{} · {customer} · 0711", words.log_in);
    let body = html! {
        body {
            main.login {
                div.login-card {
                    header {
                        p.login-mark { "0711" }
                        h1 { (customer) }
                        p.lede { (words.log_in_text) }
                    }
                    @if let Some(message) = message {
                        p.failure #message role="alert" { (message) }
                    }
                    form method="post" action="/login" {
                        input type="hidden" name="form_token" value=(form_token);
                        @if asks_name {
                            div.field {
                                label for="name" { (words.name) }
                                input #name type="text" name="name" autocomplete="username" maxlength="64" aria-describedby="name-hint";
                                small #name-hint { (words.name_hint) }
                            }
                        } @else {
                        // Password managers want a name beside the password.
                        input.unseen type="text" name="username" value=(customer) autocomplete="username" readonly tabindex="-1" aria-hidden="true";
                        }
                        div.field {
                            label for="password" { (words.password) }
                            input #password type="password" name="password" autocomplete="current-password" required autofocus
                                maxlength="256" aria-describedby="password-hint" aria-invalid=[message.map(|_| "true")];
                            small #password-hint { (words.password_hint) }
                        }
                        button.button type="submit" { (words.log_in) }
                    }
                }
            }
        }
    };
    frame(locale, &title, html! {}, body)
}

/// Renders the question page.
pub(crate) fn page(page: &Page<'_>) -> Markup {
    let words = page.locale.words();
    let title = format!("{} · 0711", page.customer);
    let head = html! {
        meta name="csrf" content=(page.csrf);
        script type="module" src="/assets/app.mjs" {}
        // A data block: no browser runs it, so the content policy allows it.
        script #words type="application/json" { (PreEscaped(words.for_script(page.locale))) }
    };
    let body = html! {
        body {
            a.skip href="#question" { (words.skip) }
            (header(page))
            div.page {
                main {
                    noscript { p.failure { (words.needs_script) } }
                    section.welcome #welcome {
                        h1 { (words.welcome) }
                        p { (words.welcome_text) " " span data-is="welcome-documents" {} }
                    }
                    section.thread #thread aria-label=(words.thread) hidden {}
                    p.unseen #announcer aria-live="polite" {}
                    div.composer {
                        form #ask {
                            label.unseen for="question" { (words.question) }
                            textarea #question name="question" rows="1" maxlength="4000" placeholder=(words.placeholder) autofocus {}
                            div.row {
                                span.hint { kbd { "Ctrl" } " + " kbd { "Enter" } " " (words.hint) }
                                button.button.small #send type="submit" disabled { (words.ask) }
                            }
                        }
                    }
                }
            }
            aside.passage #passage aria-label=(words.passage) hidden {
                header {
                    div { h2 {} p.where {} }
                    button.close type="button" aria-label=(words.close) { "✕" }
                }
                div.passage-text tabindex="0" {}
                footer {}
            }
        }
    };
    frame(page.locale, &title, head, body)
}

fn header(page: &Page<'_>) -> Markup {
    let words = page.locale.words();
    html! {
        header.head {
            div.brand { b { "0711" } span { (page.customer) } }
            span.space {}
            details.status #status {
                summary {
                    span.dot aria-hidden="true" {}
                    span.wide data-is="state" { (words.checking) }
                    span data-is="brief" {}
                }
                div.status-card {
                    dl {
                        dt { (words.documents) } dd data-is="documents" { "–" }
                        dt { (words.passages) } dd data-is="passages" { "–" }
                        dt { (words.version) } dd data-is="version" { "–" }
                    }
                    ul {}
                    div.notices role="status" {}
                }
            }
            form method="post" action="/logout" {
                input type="hidden" name="csrf" value=(page.csrf);
                button.button.plain.small type="submit" { (words.log_out) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_customer_is_called_becomes_markup() {
        let name = "<script>alert(1)</script> & Söhne";
        for locale in [Locale::German, Locale::English] {
            let text = login(locale, name, "t", (true, Some("<b>"))).into_string();
            assert!(!text.contains("<script>") && !text.contains("<b>"));
            let text = page(&Page { locale, customer: name, csrf: "\"><script>" }).into_string();
            assert!(!text.contains("<script>") && !text.contains("alert(1)</script>"));
            assert!(
                !text.contains("style=") && !text.contains("onclick"),
                "the content policy refuses inline styles and handlers"
            );
        }
    }
}
