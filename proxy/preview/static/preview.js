// The page of /preview. Everything from a template or an answer is put in as text, except the e-mail itself,
// which goes into a frame without scripts and without this page's origin.

const $ = (id) => document.getElementById(id);
const MEGABYTE = 1048576;
const GROUPS = [
  ["event_properties", "Event property"],
  ["attributes", "Attribute"],
  ["custom_attributes", "Custom attribute"],
  ["api_trigger_properties", "API trigger property"],
  ["canvas_entry_properties", "Canvas entry property"],
];
const GROUP_OF_SOURCE = { event: "event_properties", attribute: "custom_attributes" };
const TITLES = { email: "Subject", push: "Title", "in-app": "Header" };
const FIELD_OF_MISTAKE = { sku: "property" };

let ready = [];
let following = true; // the template follows the builder until it is edited
let rendering = null;
let building = null;

function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

async function post(path, body, signal) {
  // Not relative: an address that holds name and secret, as `make run` prints it, can't be fetched from.
  const response = await fetch(location.origin + path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail || answer.title);
  return answer;
}

function later(run, milliseconds) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(run, milliseconds);
  };
}

function announce(text) {
  $("announcer").textContent = "";
  setTimeout(() => ($("announcer").textContent = text), 50);
}

// ---- Build

const channel = () => document.querySelector("input[name=channel]:checked").value;

const FILTERS = [
  "language", "limit", "sort", "min_chars", "max_chars", "max_age_days", "with_image", "min_reviews", "min_average",
];

function choices() {
  const fixed = $("source").value === "fixed";
  const stars = [...document.querySelectorAll("input[name=stars]:checked")].map((box) => box.value).reverse();
  return {
    channel: channel(),
    kind: $("kind").value,
    source: $("source").value,
    sku: fixed ? $("sample").value.trim() : $("property").value.trim(),
    credential: $("credential").value.trim(),
    fallback: $("fallback").value,
    fallback_text: $("fallback_text").value,
    display_locale: $("display_locale").value.trim(),
    filters: {
      stars: stars.length === 5 ? "" : stars.join(","),
      ...Object.fromEntries(FILTERS.map((id) => [id, $(id).value])),
    },
  };
}

async function build() {
  const chosen = choices();
  $("property-field").hidden = chosen.source === "fixed";
  $("sample-label").textContent = chosen.source === "fixed" ? "The SKU" : "SKU to preview with";
  $("filters").hidden = chosen.kind === "stars";
  $("fallback-text-field").hidden = chosen.fallback !== "text";
  building?.abort();
  building = new AbortController();
  let built;
  try {
    built = await post("/preview/tag", chosen, building.signal);
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
    return;
  }
  showWrong(built.mistakes || {}, chosen.source);
  if (built.mistakes) return failed(new Error("A choice in step 1 is wrong; what is shown belongs to the choices before."));
  $("tag").textContent = built.tag;
  $("block").textContent = built.block;
  if (following) {
    $("body").value = `${built.tag}\n${built.block}\n`;
    drawGutter([]);
  }
  setSample(chosen.source);
  render();
}

function showWrong(mistakes, source) {
  const fields = ["property", "sample", "stars", ...FILTERS, "display_locale", "credential"];
  for (const field of fields) {
    const name = field === "property" || field === "sample" ? "sku" : field;
    const here = name !== "sku" || (source === "fixed") === (field === "sample");
    const text = here ? mistakes[name] || "" : "";
    $(`${field}-wrong`).textContent = text;
    $(field)?.setAttribute("aria-invalid", String(Boolean(text)));
  }
}

// The row of data that the builder's SKU stands in follows the builder.
function setSample(source) {
  const group = GROUP_OF_SOURCE[source];
  let row = document.querySelector("#rows .row[data-built]");
  if (!following || !group) {
    if (following) row?.remove();
    return;
  }
  row ||= addRow(group, "", "");
  row.dataset.built = "yes";
  row.querySelector("select").value = group;
  row.querySelector(".name").value = $("property").value.trim();
  row.querySelector(".value").value = $("sample").value;
}

// ---- Template

function start(name) {
  const chosen = ready.find((template) => template.name === name);
  following = !chosen;
  $("ready").value = name;
  $("ready-about").textContent = chosen ? chosen.about : "Follows your choices until you edit it.";
  $("rows").replaceChildren();
  if (!chosen) return build();
  document.querySelector(`input[name=channel][value=${chosen.channel}]`).checked = true;
  $("title").value = chosen.title;
  $("body").value = chosen.body;
  for (const [group, values] of Object.entries(chosen.data)) {
    for (const [key, value] of Object.entries(values)) {
      addRow(group, key, typeof value === "string" ? value : JSON.stringify(value));
    }
  }
  drawGutter([]);
  build();
}

function edited() {
  following = false;
  if ($("ready").value !== "edited") {
    const option = [...$("ready").options].find((one) => one.value === "edited")
      || $("ready").appendChild(element("option", { value: "edited", textContent: "Your own text" }));
    $("ready").value = option.value;
    $("ready-about").textContent = "Your text no longer follows the choices above; choose “The tag built above” to go back.";
  }
  drawGutter([]);
  renderSoon();
}

function addRow(group, name, value) {
  const select = element("select", { "aria-label": "Kind of value" },
    ...GROUPS.map(([key, label]) => element("option", { value: key, textContent: label })));
  select.value = group;
  const row = element("div", { className: "row" },
    select,
    element("input", { className: "name", value: name, "aria-label": "Name", spellcheck: false }),
    element("input", { className: "value", value, "aria-label": `Value of ${name || "the new name"}`, spellcheck: false }),
    element("button", { type: "button", textContent: "✕", "aria-label": `Remove ${name || "this value"}` }));
  row.querySelector("button").addEventListener("click", () => {
    const next = row.nextElementSibling?.querySelector("button") || $("add-row");
    row.remove();
    next.focus();
    renderSoon();
  });
  row.addEventListener("input", () => {
    const label = row.querySelector(".name").value || "the new name";
    row.querySelector(".value").setAttribute("aria-label", `Value of ${label}`);
    row.querySelector("button").setAttribute("aria-label", `Remove ${label}`);
    if (row.dataset.built && document.activeElement === row.querySelector(".value")) $("sample").value = row.querySelector(".value").value;
    renderSoon();
  });
  $("rows").append(row);
  return row;
}

function data() {
  const person = {};
  for (const row of document.querySelectorAll("#rows .row")) {
    const name = row.querySelector(".name").value.trim();
    const value = row.querySelector(".value").value;
    if (name && value !== "") (person[row.querySelector("select").value] ||= {})[name] = typed(value);
  }
  return person;
}

// Lists, objects, true, false and plain numbers are what they look like; anything else is text.
function typed(text) {
  try {
    const value = JSON.parse(text);
    if (typeof value === "object" || typeof value === "boolean" || String(value) === text) return value;
  } catch {
    // Not JSON: text, as most values are.
  }
  return text;
}

function drawGutter(lines) {
  const count = $("body").value.split("\n").length;
  $("gutter").replaceChildren(...Array.from({ length: count }, (_, at) =>
    element("div", { textContent: at + 1, className: lines.includes(at + 1) ? "marked" : "" })));
  $("gutter").scrollTop = $("body").scrollTop;
}

function goToLine(field, line) {
  const lines = field.value.split("\n");
  const from = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
  field.focus();
  field.setSelectionRange(from, from + (lines[line - 1] || "").length);
  field.scrollLeft = 0;
  field.scrollTop = (line - 2) * Number.parseFloat(getComputedStyle(field).lineHeight);
}

function showMistakes(mistakes) {
  for (const part of ["title", "body"]) {
    const own = mistakes.filter((mistake) => mistake.part === part);
    $(`${part}-mistakes`).replaceChildren(...own.map((mistake) => {
      const jump = element("button", { type: "button", textContent: `Line ${mistake.line}` });
      jump.addEventListener("click", () => goToLine($(part), mistake.line));
      const mending = mistake.fix ? element("button", { type: "button", className: "mend", textContent: `Fix it: ${mistake.fix.label}` }) : null;
      mending?.addEventListener("click", () => mend(part, mistake.fix.edits));
      return element("li", { className: mistake.kind }, jump, capital(mistake.message), mending ? " " : null, mending);
    }));
    $(part).setAttribute("aria-invalid", String(own.length > 0));
  }
  drawGutter(mistakes.filter((mistake) => mistake.part === "body").map((mistake) => mistake.line));
}

// ---- Result

async function render() {
  outdated();
  const at = channel();
  $("title-field").hidden = !(at in TITLES);
  $("title-label").textContent = TITLES[at] || "";
  rendering?.abort();
  rendering = new AbortController();
  try {
    const body = { channel: at, title: $("title").value, body: $("body").value, data: data() };
    show(await post("/preview/render", body, rendering.signal));
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
  }
}
const renderSoon = later(render, 400);
const buildSoon = later(build, 250);

// What is shown belongs to another message until the answer to this one is there.
function outdated() {
  $("result").classList.add("outdated");
  document.querySelector("[data-copy=body]").disabled = true;
  setState("checking", "Checking…");
}

function failed(error) {
  outdated();
  setState("failed", "The preview could not be made.", error.message);
}

function setState(kind, text, more = "") {
  $("state").className = `state ${kind}`;
  $("result-link").className = { ready: "", check: "check" }[kind] ?? "wrong-state";
  $("state").replaceChildren(text, more ? element("small", { textContent: more }) : "");
}

function show(result) {
  $("result").classList.remove("outdated");
  document.querySelector("[data-copy=body]").disabled = result.verdict === "red";
  showPeople(result.people);
  showMistakes(result.mistakes);
  const count = result.mistakes.length;
  const look = `${count === 1 ? "one thing needs" : `${count} things need`} a look`;
  const where = count ? ` ${capital(look)}, explained at the lines in step 2.` : "";
  const states = {
    ready: count
      ? ["check", `Braze would send this, but ${look}.`, "Explained at the lines in step 2."]
      : ["ready", "Braze would send this.", ""],
    aborted: ["aborted", "Braze would not send this message.", `Reason: ${result.reason}.${where}`],
    blank: ["blank", "The message would be blank.", result.reason + where],
    broken: ["broken", "Braze could not read this template.", `Line ${result.mistakes.at(-1)?.line}: ${result.reason}`],
  };
  setState(...states[result.state]);
  $("message").replaceChildren(...(result.state === "ready" ? SHOWN[result.channel](result) : []));
  $("calls").replaceChildren(...(result.calls.length
    ? result.calls.map((call) => shownCall(call, result.mistakes))
    : [element("p", { className: "hint", textContent: "The template makes no call." })]));
}

function showPeople(people) {
  $("people").replaceChildren(...people.map((one) => element("li", { className: one.verdict },
    element("b", { textContent: one.label }),
    element("span", { textContent: { green: "comes out well", yellow: "needs a look", red: "comes out badly" }[one.verdict] }),
    one.reason ? element("span", { className: "hint", textContent: capital(one.reason) }) : null)));
}

// Edits count code points, a text area UTF-16.
function mend(part, edits) {
  const points = [...$(part).value];
  for (const edit of [...edits].sort((a, b) => b.start - a.start)) points.splice(edit.start, edit.end - edit.start, edit.text);
  $(part).value = points.join("");
  $(part).dispatchEvent(new Event("input", { bubbles: true }));
  $(part).focus();
}

let mailWidth = "";

const SHOWN = {
  email(result) {
    const frame = element("iframe", { title: "The e-mail as it would look", srcdoc: result.frame });
    frame.setAttribute("sandbox", "");
    frame.style.width = mailWidth;
    const widths = element("fieldset", { className: "segments" }, element("legend", { textContent: "Width" }),
      ...[["375px", "Phone, 375"], ["600px", "Desk, 600"], ["", "All there is"]].map(([width, label]) => {
        const input = element("input", { type: "radio", name: "mail-width", value: width, checked: width === mailWidth });
        input.addEventListener("input", (event) => event.stopPropagation()); // it is no change of the message
        input.addEventListener("change", () => (frame.style.width = mailWidth = width));
        return element("label", {}, input, element("span", { textContent: label }));
      }));
    return [widths, element("div", { className: "mail" },
      element("div", { className: "mail-head" },
        element("span", { className: "hint", textContent: "Subject " }),
        element("span", { className: "subject", textContent: result.title || "none" }),
        element("span", { className: "hint", textContent: ` ${[...result.title].length} characters; phones show about 40` })),
      frame)];
  },
  push(result) {
    const { title, message } = result.length;
    return [
      element("div", { className: "phone" }, element("div", { className: "note" },
        element("div", { className: "app" }, element("b", { textContent: "Your app" }), element("span", { textContent: "now" })),
        element("div", { className: "title", textContent: result.title.trim() }),
        element("div", { className: "text", textContent: result.body.trim() }))),
      lengths(`Title ${title} characters, message ${message}. A locked phone shows about four lines.`)];
  },
  sms(result) {
    const { characters, segments, encoding, outside } = result.length;
    const why = outside ? ` because of ${[...outside].join(" ")}` : "";
    return [
      element("div", { className: "phone thread" }, element("div", { className: "bubble", textContent: result.body.trim() })),
      lengths(`${characters} characters in ${segments} ${segments === 1 ? "segment" : "segments"}, ${encoding}${why}.`)];
  },
  "in-app"(result) {
    const { title, message } = result.length;
    return [
      element("div", { className: "phone modal" }, element("div", { className: "dialog" },
        element("div", { className: "title", textContent: result.title.trim() }),
        element("div", { textContent: result.body.trim() }))),
      lengths(`Header ${title} characters, message ${message}.`)];
  },
};

const lengths = (text) => element("p", { className: "length", textContent: text });

function shownCall(call, mistakes) {
  // Why a call is not sent is its outcome already.
  const own = mistakes.filter((one) => one.part === call.part && one.line === call.line && one.kind !== "not-sent");
  const headers = call.response_headers || {};
  const facts = [
    element("span", { className: "status", textContent: call.status ?? (call.attempts ? "no answer" : "not sent") }),
    call.method,
    call.duration_ms === null ? null : `${Math.round(call.duration_ms)} ms`,
    headers["X-Cache"] ? `X-Cache ${headers["X-Cache"]}` : null,
    call.attempts > 1 ? `${call.attempts} attempts` : null,
    `line ${call.line}${call.part === "title" ? ` of the ${(TITLES[channel()] || "title").toLowerCase()}` : ""}`,
  ].filter(Boolean);
  return element("article", { className: `call ${call.succeeded ? "good" : ""}`, "aria-label": `Call on line ${call.line}` },
    element("div", { className: "line1" }, ...facts.map((fact) => (typeof fact === "string" ? element("span", { textContent: fact }) : fact))),
    element("p", { className: "url", textContent: call.url }),
    element("p", { className: "outcome", textContent: outcome(call) }),
    own.length ? element("ul", { className: "mistakes" },
      ...own.map((one) => element("li", { className: one.kind, textContent: capital(one.message) }))) : null,
    call.status === null ? null : element("div", { className: "size" },
      element("meter", { max: MEGABYTE, high: MEGABYTE * 0.9, value: call.body_bytes, "aria-label": "Size against Braze’s limit of 1 MB" }),
      `${call.body_bytes.toLocaleString("en")} bytes of 1 MB`),
    element("details", {}, element("summary", { textContent: "Headers and body" }),
      element("h4", { textContent: "Sent" }), list(call.request_headers),
      call.request_body ? shownBody("What is sent", call.request_body) : null,
      call.response_headers ? element("h4", { textContent: "Answer" }) : null,
      call.response_headers ? list(call.response_headers) : null,
      call.body ? shownBody("The answer’s body", pretty(call.body) + (call.body_cut ? "\n…" : "")) : null));
}

function outcome(call) {
  const sentences = [capital(call.outcome)];
  const answer = parsed(call.body);
  if (call.from_cache) sentences.push("It came from Braze’s cache; no call was made");
  else if (call.cached_seconds) sentences.push(`Braze keeps it for ${Math.round(call.cached_seconds / 60)} minutes`);
  if (call.status === 200 && answer?.found === false) {
    sentences.push(answer.error ? `found is false: ${answer.error}` : "found is false: no review matches, so the fallback shows");
  }
  return `${sentences.join(". ")}.`;
}

const list = (headers) => element("dl", {},
  ...Object.entries(headers).flatMap(([name, value]) => [element("dt", { textContent: name }), element("dd", { textContent: value })]));

const shownBody = (name, text) => element("pre", { textContent: text, tabIndex: 0, role: "region", "aria-label": name });

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // not JSON, or cut for showing: it is shown as it came
  }
}

function pretty(text) {
  const value = parsed(text);
  return value === null ? text : JSON.stringify(value, null, 2);
}

// Only words: the name of a parameter or of an option stays as it is written.
const capital = (text) => (/^[a-z]+[ ,]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text);

// ---- Copying

async function copy(button) {
  const source = $(button.dataset.copy);
  const text = source.value ?? source.textContent;
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS a browser has no clipboard API; the old way still works there.
    const holder = element("textarea", { value: text, className: "unseen" });
    document.body.append(holder);
    holder.select();
    copied = document.execCommand("copy");
    holder.remove();
    button.focus();
  }
  button.textContent = copied ? "Copied" : "Not copied";
  button.classList.toggle("done", copied);
  announce(`${button.dataset.name} ${copied ? "copied" : "could not be copied; select it and copy it yourself"}`);
  setTimeout(() => {
    button.textContent = "Copy";
    button.classList.remove("done");
  }, 2000);
}

// ---- Start

for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => copy(button));
document.querySelector("main").addEventListener("input", outdated);
$("builder").addEventListener("input", buildSoon);
$("builder").addEventListener("submit", (event) => event.preventDefault());
$("ready").addEventListener("change", () => start($("ready").value));
$("title").addEventListener("input", renderSoon);
$("body").addEventListener("input", edited);
$("body").addEventListener("scroll", () => ($("gutter").scrollTop = $("body").scrollTop));
$("add-row").addEventListener("click", () => addRow("event_properties", "", "").querySelector(".name").focus());

try {
  const response = await fetch(location.origin + "/preview/ready");
  const answer = await response.json();
  ready = answer.templates;
  $("host-hint").hidden = !answer.host_is_example;
  $("ready").append(...ready.map((template) => element("option", { value: template.name, textContent: template.label })));
  $("title").value = "What others say about it";
  build();
} catch (error) {
  failed(error);
}
