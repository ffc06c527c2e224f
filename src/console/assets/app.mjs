// The console's page: asks, shows the answer as it streams, opens passages, sends feedback.
// Everything from outside is set as text, never as HTML.

const words = JSON.parse(document.getElementById("words").textContent);
const csrf = document.querySelector('meta[name="csrf"]').content;
const thread = document.getElementById("thread");
const welcome = document.getElementById("welcome");
const form = document.getElementById("ask");
const box = document.getElementById("question");
const send = document.getElementById("send");
const panel = document.getElementById("passage");
const announcer = document.getElementById("announcer");
let opener = null;

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

function headers() {
  return { "content-type": "application/json", "x-csrf-token": csrf };
}

async function call(path, options = {}) {
  const response = await fetch(path, options);
  if (response.status === 401) {
    // The session ended: after a restart, or after a day.
    location.assign("/login");
    throw new Error(words.session_ended);
  }
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    throw new Error(body?.error ?? fill(words.failed, { status: response.status }));
  }
  return response;
}

// --- Exchanges ---

function thumb(name, label) {
  const paths = {
    up: "M7 10.5 10.6 3a2.2 2.2 0 0 1 2.2 2.6l-.6 3.4h5a2 2 0 0 1 2 2.4l-1.2 6.2a2 2 0 0 1-2 1.6H7m0-8.7v8.7m0-8.7H4.4a1 1 0 0 0-1 1v6.7a1 1 0 0 0 1 1H7",
    down: "M7 13.5 10.6 21a2.2 2.2 0 0 0 2.2-2.6l-.6-3.4h5a2 2 0 0 0 2-2.4l-1.2-6.2a2 2 0 0 0-2-1.6H7m0 8.7V4.8m0 8.7H4.4a1 1 0 0 1-1-1V5.8a1 1 0 0 1 1-1H7",
  };
  const space = "http://www.w3.org/2000/svg";
  const icon = document.createElementNS(space, "svg");
  icon.setAttribute("viewBox", "0 0 24 24");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(space, "path");
  for (const [key, value] of Object.entries({ d: paths[name], fill: "none", stroke: "currentColor", "stroke-width": "1.7", "stroke-linejoin": "round" })) {
    path.setAttribute(key, value);
  }
  icon.append(path);
  return make("button", { type: "button", class: "thumb", "aria-label": label, title: label, "aria-pressed": "false", "data-verdict": name }, icon);
}

class Exchange {
  constructor(question) {
    this.citations = new Map();
    this.passages = [];
    this.label = make("span", {}, words.searching);
    this.progress = make("p", { class: "progress" }, make("i", { "aria-hidden": "true" }), this.label);
    this.answer = make("p", { class: "answer", hidden: "" });
    this.sources = make("div", { class: "sources", hidden: "" });
    this.node = make("article", { class: "exchange" }, make("h2", {}, question), this.progress, this.answer, this.sources);
    thread.append(this.node);
    welcome.hidden = true;
    thread.hidden = false;
  }

  take(event) {
    switch (event.event) {
      case "retrieved":
        this.passages = event.passages;
        this.label.textContent = fill(words.reading, { count: event.passages.length });
        break;
      case "citation":
        this.citations.set(event.n, event);
        break;
      case "sentence":
        this.sentence(event);
        break;
      case "done":
        this.done(event);
        break;
      case "error":
        this.fail(event.message);
        break;
    }
  }

  sentence({ text, citation }) {
    this.answer.hidden = false;
    const span = make("span", {}, (this.answer.childNodes.length ? " " : "") + text);
    if (citation) span.append(this.chip(this.citations.get(citation)));
    this.answer.append(span);
    this.node.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  chip(citation) {
    const where = [citation.document, citation.place].filter(Boolean).join(", ");
    const button = make("button", { type: "button", class: "chip", "aria-label": fill(words.source_n, { n: citation.n, where }), title: where, "aria-expanded": "false", "aria-controls": "passage" }, String(citation.n));
    button.addEventListener("click", () => openPassage(citation, button));
    return button;
  }

  source(citation, number) {
    const button = make("button", { type: "button", class: "source", "aria-expanded": "false", "aria-controls": "passage" },
      number ? make("b", {}, String(number)) : null,
      make("span", { class: "document" }, citation.document),
      make("span", { class: "place" }, citation.place ?? ""));
    button.addEventListener("click", () => openPassage(citation, button));
    return button;
  }

  done(result) {
    this.progress.remove();
    this.node.classList.toggle("abstained", result.abstained);
    // An abstention still shows what came closest, so that the reader can look.
    const list = result.abstained ? this.passages.slice(0, 3) : result.citations;
    if (list.length) {
      this.sources.hidden = false;
      this.sources.append(make("p", { class: "sources-title" }, result.abstained ? words.closest : words.sources));
      for (const item of list) this.sources.append(this.source(item, item.n));
    }
    for (const note of result.notes) this.node.append(make("p", { class: "notes" }, note));
    const seconds = (result.timings.total_ms / 1000).toLocaleString(document.documentElement.lang, { maximumFractionDigits: 1, minimumFractionDigits: 1 });
    const kind = result.abstained ? null : result.quoted ? words.quoted : fill(words.phrased, { version: result.version });
    const facts = [kind, fill(words.seconds, { seconds })].filter(Boolean).join(" · ");
    this.foot = make("div", { class: "foot" }, make("span", {}, facts), make("span", { class: "space" }));
    this.node.append(this.foot);
    if (result.interaction_id) this.feedback(result);
    announcer.textContent = result.text;
    this.node.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  feedback(result) {
    const said = make("span", { role: "status" });
    const up = thumb("up", words.helpful);
    const down = thumb("down", words.not_helpful);
    this.foot.append(said, up, down);
    const press = (pressed) => {
      for (const button of [up, down]) button.setAttribute("aria-pressed", String(button === pressed));
    };
    const post = async (verdict, correction) => {
      try {
        await call("/api/feedback", { method: "POST", headers: headers(), body: JSON.stringify({ interaction_id: result.interaction_id, verdict, correction }) });
        said.textContent = words.thanks;
      } catch (error) {
        said.textContent = error.message;
      }
    };
    up.addEventListener("click", () => { press(up); this.correction?.remove(); this.correction = null; post("up"); });
    down.addEventListener("click", () => { press(down); post("down"); this.ask(post); });
    if (result.verdict) press(result.verdict === "up" ? up : down);
  }

  ask(post) {
    if (this.correction) return this.correction.querySelector("textarea").focus();
    const id = `correction-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
    const text = make("textarea", { id, rows: "3", maxlength: "4000", placeholder: words.correction_hint });
    const close = () => { this.correction?.remove(); this.correction = null; };
    this.correction = make("form", { class: "correction" },
      make("label", { for: id }, words.correction),
      text,
      make("div", {},
        make("button", { type: "button", class: "button plain small", onclick: close }, words.cancel),
        make("button", { type: "submit", class: "button small" }, words.send_correction)));
    this.correction.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (text.value.trim()) await post("down", text.value.trim());
      close();
    });
    this.node.append(this.correction);
    text.focus();
  }

  fail(message) {
    this.progress.remove();
    this.node.append(make("p", { class: "failure", role: "alert" }, message));
  }
}

// --- Asking ---

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    let end;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const data = rest.slice(0, end).split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
      rest = rest.slice(end + 2);
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

let busy = false;

async function ask(question) {
  busy = true;
  ready();
  const exchange = new Exchange(question);
  exchange.node.scrollIntoView({ block: "start", behavior: "smooth" });
  let finished = false;
  try {
    const response = await call("/api/ask", { method: "POST", headers: headers(), body: JSON.stringify({ question }) });
    for await (const event of events(response)) {
      exchange.take(event);
      finished ||= event.event === "done" || event.event === "error";
    }
    if (!finished) throw new Error(words.broken_off);
  } catch (error) {
    exchange.fail(error.message || words.broken_off);
  } finally {
    busy = false;
    ready();
    box.focus();
  }
}

function ready() {
  send.disabled = busy || !box.value.trim();
}

function grow() {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
  ready();
}

box.addEventListener("input", grow);
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    form.requestSubmit();
  }
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const question = box.value.trim();
  if (!question || busy) return;
  box.value = "";
  grow();
  ask(question);
});

// --- The passage panel ---

async function openPassage(citation, button) {
  opener?.setAttribute("aria-expanded", "false");
  opener = button;
  const title = panel.querySelector("h2");
  const text = panel.querySelector(".passage-text");
  title.textContent = citation.document;
  panel.querySelector(".where").textContent = [citation.place, citation.heading].filter(Boolean).join(" · ");
  panel.querySelector("footer").textContent = citation.source;
  text.replaceChildren(make("p", {}, words.loading));
  panel.hidden = false;
  document.body.classList.add("reading");
  button.setAttribute("aria-expanded", "true");
  panel.querySelector(".close").focus();
  try {
    const response = await call(`/api/chunks/${encodeURIComponent(citation.chunk_id)}`);
    const passage = await response.json();
    if (passage.heading) panel.querySelector(".where").textContent = [citation.place, passage.heading].filter(Boolean).join(" · ");
    text.replaceChildren(...passageNodes(passage.text, citation.quote ?? ""));
    text.querySelector("mark, .marked")?.scrollIntoView({ block: "center" });
  } catch (error) {
    text.replaceChildren(make("p", { class: "failure", role: "alert" }, error.message));
  }
}

// Splits a passage into runs of text and of table rows, and marks the quote in either.
function passageNodes(text, quote) {
  const from = quote ? text.indexOf(quote) : -1;
  const to = from < 0 ? -1 : from + quote.length;
  const nodes = [];
  let at = 0;
  let run = null;
  let head = null;
  for (const line of text.split("\n")) {
    const row = cells(line) ?? namedCells(line, head);
    head = line.includes(" | ") ? row : row ? head : null;
    if (row) {
      if (run?.tagName !== "TABLE") nodes.push((run = make("table", {}, make("tbody"))));
      const marked = from >= 0 && at < to && at + line.length > from;
      run.tBodies[0].append(make("tr", marked ? { class: "marked" } : {}, ...row.map((cell) => make("td", {}, cell))));
    } else {
      if (run?.tagName !== "P") nodes.push((run = make("p")));
      const start = Math.max(from - at, 0);
      const end = Math.min(to - at, line.length);
      if (from >= 0 && start < end) {
        run.append(line.slice(0, start), make("mark", {}, line.slice(start, end)), line.slice(end), "\n");
      } else {
        run.append(line, "\n");
      }
    }
    at += line.length + 1;
  }
  return nodes;
}

function cells(line) {
  if (/^\s*\|.*\|\s*$/.test(line)) {
    return /^[\s|:+-]+$/.test(line) ? null : line.trim().slice(1, -1).split("|").map((cell) => cell.trim());
  }
  if (line.includes(" | ")) return line.split(" | ").map((cell) => cell.trim());
  return null;
}

// A row written as "Artikel: KX 4; Preis: 1,42" under its header "Artikel | Preis" reads better in columns.
function namedCells(line, head) {
  if (!head) return null;
  const values = new Map();
  for (const cell of line.split("; ")) {
    const at = cell.indexOf(": ");
    if (at < 0 || !head.includes(cell.slice(0, at))) return null;
    values.set(cell.slice(0, at), cell.slice(at + 2));
  }
  return head.map((name) => values.get(name) ?? "");
}

function closePassage() {
  if (panel.hidden) return;
  panel.hidden = true;
  document.body.classList.remove("reading");
  opener?.setAttribute("aria-expanded", "false");
  opener?.focus();
  opener = null;
}

panel.querySelector(".close").addEventListener("click", closePassage);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closePassage();
});

// --- Status ---

const status = document.getElementById("status");

async function refresh() {
  try {
    const response = await call("/api/status");
    const found = await response.json();
    const number = (value) => value.toLocaleString(document.documentElement.lang);
    const down = found.services.filter((service) => service.state === "down" || service.state === "starting");
    const state = down.length === 0 ? "ok" : down.some((service) => service.state === "down") ? "down" : "starting";
    status.querySelector("summary .dot").dataset.state = state;
    status.querySelector("[data-is=state]").textContent = down.length ? fill(words.services_down, { count: down.length }) : words.services_ok;
    status.querySelector("[data-is=brief]").textContent = [found.documents === null ? null : fill(words.documents_n, { count: number(found.documents) }), found.version].filter(Boolean).join(" · ");
    status.querySelector("[data-is=documents]").textContent = found.documents === null ? "–" : number(found.documents);
    status.querySelector("[data-is=passages]").textContent = found.chunks === null ? "–" : number(found.chunks);
    status.querySelector("[data-is=version]").textContent = found.version;
    status.querySelector("ul").replaceChildren(...found.services.map((service) =>
      make("li", {}, make("span", { class: "dot", "data-state": service.state, "aria-hidden": "true" }), make("span", {}, words.roles[service.role] ?? service.role), make("span", {}, words.states[service.state]))));
    status.querySelector(".notices").replaceChildren(...found.notices.map((notice) => make("p", {}, words.notices[notice] ?? notice)));
    if (found.release) offer(found.release);
    const documents = document.querySelector("[data-is=welcome-documents]");
    if (found.documents) documents.textContent = fill(words.welcome_documents, { count: number(found.documents) });
  } catch {
    status.querySelector("summary .dot").dataset.state = "down";
    status.querySelector("[data-is=state]").textContent = words.unreachable;
  }
}

// A release that waits for somebody to say yes.
function offer(release) {
  const said = make("p", {}, fill(release.is_approved ? words.release_approved : words.release_waits, { version: release.version }));
  status.querySelector(".notices").append(said);
  if (release.is_approved) return;
  const yes = make("button", { type: "button", class: "button small", "data-is": "approve" }, words.release_approve);
  yes.addEventListener("click", async () => {
    yes.disabled = true;
    try {
      await call("/api/approve", { method: "POST", headers: headers(), body: JSON.stringify({ version: release.version }) });
      await refresh();
    } catch (error) {
      said.textContent = error.message;
      yes.disabled = false;
    }
  });
  status.querySelector(".notices").append(yes);
}

document.addEventListener("click", (event) => {
  if (status.open && !status.contains(event.target)) status.open = false;
});

// --- Start ---

async function history() {
  const response = await call("/api/history");
  for (const past of (await response.json()).exchanges) {
    const exchange = new Exchange(past.question);
    for (const citation of past.answer.citations) exchange.take({ event: "citation", ...citation });
    for (const sentence of past.answer.sentences) exchange.take({ event: "sentence", ...sentence });
    exchange.done({ ...past.answer, verdict: past.verdict });
  }
  thread.lastElementChild?.scrollIntoView({ block: "end" });
}

grow();
refresh();
history().catch(() => {});
setInterval(() => { if (!document.hidden) refresh(); }, 20000);
