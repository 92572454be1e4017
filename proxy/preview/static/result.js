// What became of the message: the verdict, the message itself, the five people, the calls.

import { $, button, capital, element } from "./dom.js";
import { shown, small } from "./channels.js";

const MEGABYTE = 1048576;
const COMES_OUT = { green: "Comes out well", yellow: "Needs a look", red: "Comes out badly" };
let viewed = ""; // one of the five whose message is shown large

export function setState(kind, text, more = "") {
  $("state").className = `state ${kind}`;
  $("result-link").className = { ready: "good", check: "check", checking: "" }[kind] ?? "wrong-state";
  $("state").replaceChildren(element("span", { className: "sign", "aria-hidden": "true" }),
    element("span", {}, text, more ? element("small", { textContent: more }) : ""));
}

export function show(result) {
  const count = result.mistakes.length;
  const look = `${count === 1 ? "one thing needs" : `${count} things need`} a look`;
  const where = count ? ` ${capital(look)}, explained at the lines in step 3.` : "";
  const states = {
    ready: count
      ? ["check", `Braze would send this, but ${look}.`, "Explained at the lines in step 3."]
      : ["ready", "Braze would send this.", ""],
    aborted: ["aborted", "Braze would not send this message.", `Reason: ${result.reason}.${where}`],
    blank: ["blank", "The message would be blank.", result.reason + where],
    broken: ["broken", "Braze could not read this template.", `Line ${result.mistakes.at(-1)?.line}: ${result.reason}`],
  };
  setState(...states[result.state]);
  if (!result.people.some((one) => one.name === viewed)) viewed = "";
  drawMessage(result);
  drawPeople(result);
  $("calls").replaceChildren(...(result.calls.length
    ? result.calls.map((call) => shownCall(call, result))
    : [element("p", { className: "hint", textContent: "The template makes no call." })]));
}

function drawMessage(result) {
  const one = result.people.find((person) => person.name === viewed);
  const whose = one ? element("p", { className: "whose" }, element("span", {}, "Shown: what ", element("b", { textContent: one.label }), " gets."),
    button("Back to yours", () => view("", result), { className: "quiet" })) : null;
  const redraw = () => drawMessage(result);
  let pictures = [];
  if ((one ?? result).state === "ready") pictures = shown(result.channel, one ?? result, redraw);
  else if (one) pictures = [element("p", { className: "nothing", textContent: capital(one.reason || "Nothing is sent.") })];
  $("message").replaceChildren(...[whose, ...pictures].filter(Boolean));
}

export const viewOwn = () => (viewed = "");

function view(name, result) {
  viewed = name;
  drawMessage(result);
  for (const press of document.querySelectorAll("#people button")) press.setAttribute("aria-pressed", String(press.dataset.name === name));
  if (name) $("message").scrollIntoView({ block: "nearest" });
  else $("people").querySelector("button")?.focus();
}

function drawPeople(result) {
  const well = result.people.filter((one) => one.verdict === "green").length;
  $("people-said").textContent = `${well === result.people.length ? "All" : well} of ${result.people.length} come out well. From made-up answers: no call is made for them.`;
  $("people").replaceChildren(...result.people.map((one) => {
    const press = button("", () => view(viewed === one.name ? "" : one.name, result), { "data-name": one.name });
    press.setAttribute("aria-pressed", String(viewed === one.name));
    press.append(
      one.state === "ready" ? small(result.channel, one) : element("div", { className: "small-none", "aria-hidden": "true", textContent: one.state === "aborted" ? "Not sent" : one.state === "blank" ? "Blank" : "Broken" }),
      element("b", { textContent: one.label }),
      element("span", { className: "comes", textContent: COMES_OUT[one.verdict] }),
      one.reason ? element("span", { className: "hint", textContent: capital(one.reason) }) : "");
    return element("li", { className: one.verdict }, press);
  }));
}

const TITLES = { email: "subject", push: "title", "in-app": "header" };

function shownCall(call, { mistakes, channel }) {
  // Why a call is not sent is its outcome already.
  const own = mistakes.filter((one) => one.part === call.part && one.line === call.line && one.kind !== "not-sent");
  const headers = call.response_headers || {};
  const part = { title: TITLES[channel] || "title", preheader: "preheader" }[call.part];
  const facts = [
    element("span", { className: "status", textContent: call.status ?? (call.attempts ? "no answer" : "not sent") }),
    call.method,
    call.duration_ms === null ? null : `${Math.round(call.duration_ms)} ms`,
    headers["X-Cache"] ? `X-Cache ${headers["X-Cache"]}` : null,
    call.attempts > 1 ? `${call.attempts} attempts` : null,
    `line ${call.line}${part ? ` of the ${part}` : ""}`,
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

export function parsed(text) {
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
