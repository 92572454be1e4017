// What to start from: ready templates with how they look, the builder's own, and the drafts of this browser.

import { $, announce, button, element } from "./dom.js";
import { small } from "./channels.js";
import { drafts } from "./drafts.js";

const CHANNELS = { email: "E-mail", push: "Push", sms: "SMS", "in-app": "In-app" };

export function drawGallery(templates, choose) {
  $("gallery").replaceChildren(...templates.map((template) => {
    const press = button("", () => choose(template), { "data-template": template.name, className: "start-from" });
    press.append(small(template.channel, template.thumbnail),
      element("b", { textContent: template.label }),
      element("span", { className: "hint", textContent: `${CHANNELS[template.channel]} · ${template.about}` }));
    return element("li", {}, press);
  }));
}

export function mark(name) {
  for (const press of $("gallery").querySelectorAll("button")) {
    if (press.dataset.template === name) press.setAttribute("aria-current", "true");
    else press.removeAttribute("aria-current");
  }
}

export function drawDrafts(open) {
  const all = drafts.all();
  $("drafts-box").hidden = all.length === 0;
  $("drafts-count").textContent = all.length === 1 ? "One draft kept in this browser" : `${all.length} drafts kept in this browser`;
  $("drafts").replaceChildren(...all.map((draft) => {
    const words = (draft.message.title || draft.message.body.replace(/\{%.*?%\}|\{\{.*?\}\}+|<[^>]*>/gs, " ")).trim().replace(/\s+/g, " ");
    const name = words.slice(0, 60) || "Without words";
    const when = new Date(draft.at).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
    return element("li", {},
      element("div", {}, element("b", { textContent: name }), element("span", { className: "hint", textContent: `${CHANNELS[draft.message.channel] ?? "Message"} · ${when}` })),
      button("Open", () => open(draft), { "aria-label": `Open the draft ${name}` }),
      button("✕", () => {
        drafts.remove(draft.at);
        drawDrafts(open);
        announce(`Draft ${name} deleted`);
        ($("drafts").querySelector("button") ?? $("gallery").querySelector("button")).focus();
      }, { "aria-label": `Delete the draft ${name}` }));
  }));
}
