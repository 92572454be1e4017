// Copy for Braze: every part of the message, and what is left to do there.

import { $, button, copy, element } from "./dom.js";

const WHERE = {
  email: { body: "Paste it in the HTML editor, in place of all that is there.", title: "Sending Info, Subject.", preheader: "Sending Info, Preheader." },
  push: { body: "Compose, Message.", title: "Compose, Title." },
  sms: { body: "Compose, Message." },
  "in-app": { body: "Compose, Body.", title: "Compose, Header." },
};
const NAMES = {
  email: { body: "Message", title: "Subject", preheader: "Preheader" },
  push: { body: "Message", title: "Title" },
  sms: { body: "Message" },
  "in-app": { body: "Message", title: "Header" },
};

function item(text, more, ...controls) {
  const box = element("input", { type: "checkbox" });
  return element("li", {}, element("label", {}, box, element("span", {}, element("b", { textContent: text }), more ? element("small", { textContent: more }) : "")), ...controls);
}

function part(name, text, where) {
  const line = item(`${name}: paste it`, where);
  const press = button("Copy", async () => {
    const copied = await copy(text, name);
    press.textContent = copied ? "Copied" : "Not copied";
    press.setAttribute("aria-label", `${press.textContent}: ${name.toLowerCase()}`);
    press.classList.toggle("done", copied);
    if (copied) line.querySelector("input").checked = true;
  }, { "aria-label": `Copy the ${name.toLowerCase()}` });
  line.append(press, element("pre", { textContent: text, tabIndex: 0, role: "region", "aria-label": `${name} to paste` }));
  line.classList.add("part");
  return line;
}

const named = (texts) => [...new Set(texts.flatMap((text) => [...text.matchAll(/:(?:basic_auth|auth_credentials)\s+([\w-]+)/g)].map((match) => match[1])))];

export async function openCopying(message, result) {
  const { channel } = message;
  const parts = Object.keys(NAMES[channel]).map((name) => [name, message[name]]).filter(([, text]) => text.trim());
  const texts = parts.map(([, text]) => text);
  const values = message.rows.filter(([, name]) => name.trim());
  const badly = result.people.filter((one) => one.verdict !== "green");
  const todo = [
    ...named(texts).map((name) => item(`Store the credential ${name}`, "Settings, Connected Content, Add credential: the name and secret of a pair in PROXY_CREDENTIALS. Once for all messages.")),
    texts.some((text) => text.includes("reviews.example.com"))
      ? item("Put your proxy’s address in", "In place of reviews.example.com, wherever it stands.") : null,
    values.length ? item("See that Braze sends these values", values.map(([group, name]) => `${name} (${group.replaceAll("_", " ")})`).join(", ")) : null,
    result.mistakes.length ? item(`Look at ${result.mistakes.length === 1 ? "the one thing" : `the ${result.mistakes.length} things`} the preview told`, "Braze would send the message as it is.") : null,
    badly.length ? item("Decide about who comes out badly", badly.map((one) => one.label).join(", ")) : null,
    item("Send a test to yourself", "Test, with a user who has these values; then launch."),
  ].filter(Boolean);
  $("copying-parts").replaceChildren(...parts.map(([name, text]) => part(NAMES[channel][name], text, WHERE[channel][name])));
  $("copying-todo").replaceChildren(...todo);
  const dialog = $("copying");
  dialog.showModal();
  $("copying-heading").focus();
  // What is longest is in the clipboard already.
  $("copying-parts").querySelector("button").click();
}
