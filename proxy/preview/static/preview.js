// The page of /preview: the message as it is typed, and what follows from each change.

import { $, announce, ask, button, capital, copy, element, later } from "./dom.js";
import * as builder from "./builder.js";
import { counted } from "./channels.js";
import { openCopying } from "./copying.js";
import { drafts, Steps } from "./drafts.js";
import { drawDrafts, drawGallery, mark } from "./gallery.js";
import { parsed, setState, show, viewOwn } from "./result.js";
import { isLink, linkOf, messageOf } from "./share.js";
import { rated, SkuPicker } from "./skus.js";

const GROUPS = [
  ["event_properties", "Event property"],
  ["attributes", "Attribute"],
  ["custom_attributes", "Custom attribute"],
  ["api_trigger_properties", "API trigger property"],
  ["canvas_entry_properties", "Canvas entry property"],
];
const GROUP_OF_SOURCE = { event: "event_properties", attribute: "custom_attributes" };
const TITLES = { email: "Subject", push: "Title", "in-app": "Header" };
const PARTS = ["title", "preheader", "body"];
const OWN = { name: "own", label: "The builder’s block", about: "Only the tag and the block that step 2 writes.", channel: "email", title: "What others say about it", preheader: "", body: "", data: { event_properties: { item_sku: "TRUCK-01" } } };
const FIRST_CHOICES = { kind: "product", source: "event", sku: "item_sku", credential: "reviews_proxy", fallback: "hide", fallback_text: "", display_locale: "", filters: {} };

const steps = new Steps();
const productsLike = async (text) => (await ask(`/preview/products?like=${encodeURIComponent(text)}`)).products;
const picker = new SkuPicker(picked, productsLike);
let shown = null; // the last answer, while it belongs to what is typed
let isTouched = false; // something was typed since a start was chosen
let isChoosing = false; // a choice of step 2 is on its way into the message
let rendering = null;
let building = null;

// ---- The message

const channel = () => document.querySelector("input[name=channel]:checked").value;

const rows = () => [...document.querySelectorAll("#rows .row")].map((row) =>
  [row.querySelector("select").value, row.querySelector(".name").value, row.querySelector(".value").value]);

const message = () => ({ channel: channel(), ...Object.fromEntries(PARTS.map((part) => [part, $(part).value])), rows: rows() });

function put(given) {
  document.querySelector(`input[name=channel][value="${CSS.escape(given.channel)}"]`).checked = true;
  for (const part of PARTS) $(part).value = given[part];
  $("rows").replaceChildren();
  for (const row of given.rows) addRow(...row);
  drawGutter([]);
  changed();
  renderSoon.cancel();
  render();
}

// After every change, by whomever: it is kept, it can be undone, and what is shown no longer belongs to it.
function changed() {
  outdated();
  drafts.keepNow(message(), isTouched);
  noteSoon();
  renderSoon();
}
const note = () => {
  steps.note(message());
  drawSteps();
};
const noteSoon = later(note, 400);

function typed() {
  isTouched = true;
  mark("");
  changed();
}

function drawSteps() {
  $("undo").disabled = !steps.can(-1);
  $("redo").disabled = !steps.can(1);
}

function go(by) {
  noteSoon.cancel();
  note();
  const other = steps.go(by);
  if (!other) return;
  isTouched = true;
  mark("");
  put(other);
  noteSoon.cancel();
  drawSteps();
  announce(by < 0 ? "Undone" : "Done again");
}

// What was typed is put among the drafts before another message takes its place.
function start(given, name = "") {
  noteSoon.cancel();
  if (isTouched) {
    note();
    drafts.keep(message());
  }
  isTouched = false;
  viewOwn();
  put(given);
  note();
  mark(name);
  drawDrafts(openDraft);
}

function openDraft(draft) {
  start(draft.message);
  isTouched = true;
  drafts.keepNow(draft.message, isTouched);
  $("message-heading").scrollIntoView();
  announce("The draft is open");
}

function chooseTemplate(template) {
  const given = { channel: template.channel, title: template.title, preheader: template.preheader, body: template.body, rows: [] };
  for (const [group, values] of Object.entries(template.data)) {
    for (const [key, value] of Object.entries(values)) {
      given.rows.push([group, key, typeof value === "string" ? value : JSON.stringify(value)]);
    }
  }
  const had = isTouched;
  start(given, template.name);
  if (template.name === OWN.name) {
    builder.fill({ choices: FIRST_CHOICES, writes_block: true });
    chosen();
    isTouched = false;
    mark(OWN.name);
  }
  announce(`${template.label} is in place${had ? "; what you had is among your drafts" : ""}`);
}

// ---- Step 2

const listed = (text) => {
  const value = text.trim().startsWith("[") ? parsed(text) : null;
  return Array.isArray(value) ? value.map(String) : text.split(",").map((sku) => sku.trim()).filter(Boolean);
};

const rowOfSku = () => {
  const group = GROUP_OF_SOURCE[$("source").value];
  return [...document.querySelectorAll("#rows .row")].find((row) =>
    row.querySelector("select").value === group && row.querySelector(".name").value.trim() === $("property").value.trim());
};

function picked() {
  if (builder.isFixed()) return chosen();
  const group = GROUP_OF_SOURCE[$("source").value];
  const row = rowOfSku() || (group ? addRow(group, $("property").value.trim(), "") : null);
  if (row) {
    const skus = picker.chosen;
    row.querySelector(".value").value = picker.multiple && skus.length > 1 ? JSON.stringify(skus) : skus.join(",");
    typed();
  }
}

function drawPicker() {
  picker.multiple = $("kind").value === "products";
  if (builder.isFixed()) return;
  const row = rowOfSku();
  picker.set(row ? listed(row.querySelector(".value").value) : []);
}

// A choice was made: the message's tag is changed to it.
function chosen() {
  isChoosing = true;
  isTouched = true;
  mark("");
  outdated();
  builder.follow();
  if (builder.isFixed()) picker.multiple = $("kind").value === "products";
  chooseSoon();
}
const chooseSoon = later(choose, 250);

async function choose() {
  building?.abort();
  building = new AbortController();
  const before = $("body").value;
  let answer;
  try {
    answer = await ask("/preview/tag", { ...builder.choices(channel(), picker.chosen), body: before }, building.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    isChoosing = false;
    return failed(error);
  }
  isChoosing = false;
  builder.showWrong(answer.mistakes || {});
  if (answer.mistakes) return setState("failed", "A choice in step 2 is wrong.", "What is shown belongs to the choices before.");
  if ($("body").value !== before) return chosen(); // typed meanwhile: the tag in that text is changed
  if (answer.body !== null) $("body").value = answer.body;
  drawGutter([]);
  renameRow();
  drawPicker();
  changed();
  renderSoon.cancel();
  render();
}

// The SKU to preview with goes along when its property gets another name.
function renameRow() {
  const group = GROUP_OF_SOURCE[$("source").value];
  const name = $("property").value.trim();
  if (!group || !name || rowOfSku() || !picker.chosen.length) return;
  const old = [...document.querySelectorAll("#rows .row")].find((row) => listed(row.querySelector(".value").value).join() === picker.chosen.join());
  const value = old?.querySelector(".value").value ?? picker.chosen.join(",");
  if (!old) return addRow(group, name, value);
  old.querySelector("select").value = group;
  old.querySelector(".name").value = name;
  labelRow(old);
}

async function putIn() {
  try {
    const built = await ask("/preview/tag", { ...FIRST_CHOICES, channel: channel() });
    const text = `${built.tag}\n${built.block}\n`;
    if (shown?.builder.because === "it makes no call") {
      const body = $("body");
      body.setRangeText(text, body.selectionStart, body.selectionEnd, "end");
      drawGutter([]);
      typed();
    } else {
      start({ ...message(), body: text });
    }
    if (!rows().some(([group, name]) => group === "event_properties" && name === "item_sku")) addRow("event_properties", "item_sku", "TRUCK-01");
    $("body").focus();
    announce("The tag and its block are in the message");
  } catch (error) {
    failed(error);
  }
}

// ---- Steps 3 and 4

function labelRow(row) {
  const name = row.querySelector(".name").value || "the new name";
  row.querySelector(".value").setAttribute("aria-label", `Value of ${name}`);
  row.querySelector("button").setAttribute("aria-label", `Remove ${name}`);
}

function addRow(group, name, value) {
  const select = element("select", { "aria-label": "Kind of value" },
    ...GROUPS.map(([key, label]) => element("option", { value: key, textContent: label })));
  select.value = group;
  const row = element("div", { className: "row" },
    select,
    element("input", { className: "name", value: name, "aria-label": "Name", spellcheck: false }),
    element("input", { className: "value", value, placeholder: "not set", spellcheck: false }),
    button("✕", () => {
      const next = row.nextElementSibling?.querySelector("button") || $("add-row");
      row.remove();
      next.focus();
      typed();
      drawPicker();
    }));
  labelRow(row);
  row.addEventListener("input", () => {
    labelRow(row);
    typed();
    drawPicker();
  });
  $("rows").append(row);
  return row;
}

function data() {
  const person = {};
  for (const [group, name, value] of rows()) {
    if (name.trim() && value !== "") (person[group] ||= {})[name.trim()] = valueOf(value);
  }
  return person;
}

// Lists, objects, true, false and plain numbers are what they look like; anything else is text.
function valueOf(text) {
  const value = parsed(text);
  return value !== null && (typeof value === "object" || typeof value === "boolean" || String(value) === text) ? value : text;
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

function showMistakes({ mistakes, repaired }) {
  for (const part of PARTS) {
    const own = mistakes.filter((mistake) => mistake.part === part);
    $(`${part}-mistakes`).replaceChildren(...own.map((mistake) => element("li", { className: mistake.kind },
      button(`Line ${mistake.line}`, () => goToLine($(part), mistake.line), { className: "jump" }),
      capital(mistake.message),
      mistake.fix ? button(`Fix it: ${mistake.fix.label}`, () => mend(part, mistake.fix.edits), { className: "mend" }) : null)));
    $(part).setAttribute("aria-invalid", String(own.length > 0));
  }
  $("mend-all").hidden = mistakes.filter((mistake) => mistake.fix).length < 2;
  $("mend-all").onclick = () => {
    note();
    for (const [part, text] of Object.entries(repaired)) $(part).value = text;
    mended();
  };
  drawGutter(mistakes.filter((mistake) => mistake.part === "body").map((mistake) => mistake.line));
}

// Edits count code points, a text area UTF-16.
function mend(part, edits) {
  note();
  const points = [...$(part).value];
  for (const edit of [...edits].sort((a, b) => b.start - a.start)) points.splice(edit.start, edit.end - edit.start, edit.text);
  $(part).value = points.join("");
  $(part).focus();
  mended();
}

function mended() {
  drawGutter([]);
  typed();
  announce("Mended; Undo takes it back");
}

// ---- The result

async function render() {
  outdated();
  const at = channel();
  $("title-field").hidden = !(at in TITLES);
  $("preheader-field").hidden = at !== "email";
  $("title-label").textContent = TITLES[at] || "";
  rendering?.abort();
  rendering = new AbortController();
  try {
    const { rows: _, ...texts } = message();
    const result = await ask("/preview/render", { ...texts, data: data() }, rendering.signal);
    if (!isChoosing) showResult(result);
  } catch (error) {
    if (error.name !== "AbortError") failed(error);
  }
}
const renderSoon = later(render, 400);

function showResult(result) {
  shown = result;
  setOutdated(false);
  $("copy").disabled = result.verdict === "red";
  $("copy").title = result.verdict === "red" ? "Braze would not send it as it is." : "";
  $("share").disabled = false;
  show(result);
  showMistakes(result);
  builder.fill(result.builder);
  if (result.builder.choices?.source === "fixed") picker.set(listed(result.builder.choices.sku));
  drawPicker();
  for (const part of ["title", "preheader"]) $(`${part}-count`).textContent = result.channel === "email" ? counted(part, result[part]) : "";
  suggest(result);
}

// What is shown belongs to another message until the answer to this one is there.
function outdated() {
  shown = null;
  setOutdated(true);
  $("copy").disabled = true;
  $("share").disabled = true;
  setState("checking", "Checking…");
}

function setOutdated(is) {
  $("result").classList.toggle("outdated", is);
  for (const part of document.querySelectorAll("#message, .people, #calls")) part.inert = is;
}

function failed(error) {
  outdated();
  setState("failed", "The preview could not be made.", error.message);
}

async function suggest(result) {
  try {
    picker.know(await productsLike(""));
  } catch {
    return; // the picker keeps what it knows
  }
  const without = new Set(result.calls.flatMap((call) => {
    const answer = parsed(call.body);
    return [answer, ...(answer?.products ?? [])].filter((one) => one?.found === false && one.sku).map((one) => one.sku);
  }));
  const meant = picker.chosen.filter((sku) => without.has(sku)).map((sku) => [sku, picker.nearest(sku)]).filter(([, near]) => near);
  $("meant").replaceChildren(...meant.map(([sku, near]) => element("p", {}, `${sku} has no reviews here. Did you mean `,
    button(`${near.sku} ${rated(near)}`, () => picker.replace(sku, near.sku)), "?")));
}

// ---- Sharing

async function share() {
  const { refused, personal } = shown.sharing;
  const link = refused ? "" : await linkOf(message(), personal);
  const left = personal.map(([, name]) => name).join(", ");
  $("sharing-said").textContent = refused
    || `Whoever may open this page sees the message by this link. It holds the message itself, behind the #, which no server is sent.${left ? ` Left out, as a person’s own: ${left}.` : ""}`;
  $("sharing-link").value = link;
  $("sharing-field").hidden = Boolean(refused);
  $("sharing").showModal();
  if (!refused) await copyLink();
}

async function copyLink() {
  const copied = await copy($("sharing-link").value, "Link");
  $("copy-link").textContent = copied ? "Copied" : "Copy";
  $("copy-link").classList.toggle("done", copied);
}

async function openLink() {
  const { hash } = location;
  history.replaceState(null, "", location.pathname);
  let given;
  try {
    given = await messageOf(hash);
    const { rows: values, ...texts } = given;
    const data_ = Object.fromEntries(values.map(([group]) => [group, Object.fromEntries(values.filter(([own]) => own === group).map(([, name, value]) => [name, value]))]));
    const { sharing } = await ask("/preview/render", { ...texts, data: data_ });
    if (sharing.refused) return say(`The link was not opened. ${sharing.refused}`);
  } catch {
    return say("The link can’t be read; it may have been cut.");
  }
  start(given);
  say("The shared message is open. What you had is among your drafts.");
}

function say(text) {
  $("notice").hidden = false;
  $("notice-text").textContent = text;
}

// ---- Start

$("builder").addEventListener("input", () => chosen());
$("builder").addEventListener("submit", (event) => event.preventDefault());
$("put-in").addEventListener("click", putIn);
for (const radio of document.querySelectorAll("input[name=channel]")) radio.addEventListener("change", () => chosen());
for (const part of PARTS) $(part).addEventListener("input", typed);
$("body").addEventListener("input", () => drawGutter([]));
$("body").addEventListener("scroll", () => ($("gutter").scrollTop = $("body").scrollTop));
$("add-row").addEventListener("click", () => addRow("event_properties", "", "").querySelector(".name").focus());
$("undo").addEventListener("click", () => go(-1));
$("redo").addEventListener("click", () => go(1));
$("copy").addEventListener("click", () => openCopying(message(), shown));
$("share").addEventListener("click", share);
$("copy-link").addEventListener("click", copyLink);
$("notice-close").addEventListener("click", () => ($("notice").hidden = true));
for (const close of document.querySelectorAll("dialog .close")) close.addEventListener("click", () => close.closest("dialog").close());
document.addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z" || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  go(event.shiftKey ? 1 : -1);
});
addEventListener("hashchange", () => isLink() && openLink());
addEventListener("pagehide", () => steps.can(0) && drafts.keepNow(message(), isTouched));

const kept = drafts.now();
if (kept?.message) {
  isTouched = kept.isTouched;
  put(kept.message);
  note();
}
try {
  const { templates, own, host_is_example: isExample } = await ask("/preview/ready");
  $("host-hint").hidden = !isExample;
  drawGallery([...templates, { ...OWN, thumbnail: own }], chooseTemplate);
  drawDrafts(openDraft);
  if (!kept?.message) {
    chooseTemplate(templates[0]);
    note();
  }
  if (isLink()) await openLink();
} catch (error) {
  failed(error);
}
