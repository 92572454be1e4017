// The message as each channel shows it. An e-mail stands in a frame where no script runs.

import { element } from "./dom.js";

const SUBJECT_SHOWN = 40;
const PREHEADER_SHOWN = 90;
const settings = { width: matchMedia("(max-width: 40rem)").matches ? 375 : 600, dark: false, blocked: false };

// What is shown differs from Braze's HTML by this alone. Mail programs that know no dark mode of the message's own
// turn its colours round, roughly so.
const BLOCKED = '<meta http-equiv="Content-Security-Policy" content="img-src \'none\'">';
const TURNED = "<style>html{filter:invert(1) hue-rotate(180deg);background:#fff}img,video,picture{filter:invert(1) hue-rotate(180deg)}</style>";
const HAS_DARK = /prefers-color-scheme/;
const SCHEME = /\(\s*prefers-color-scheme\s*:\s*(dark|light)\s*\)/gi;

// The message's own styles for dark and light go by what is chosen here, not by the viewer's system.
const framed = (frame) => frame
  .replace("<!doctype html>", (start) => start + (settings.blocked ? BLOCKED : "") + (settings.dark && !HAS_DARK.test(frame) ? TURNED : ""))
  .replace(SCHEME, (_, scheme) => ((scheme.toLowerCase() === "dark") === settings.dark ? "(min-width: 0)" : "(max-width: 0)"));

// Without `allow-scripts` nothing of the message runs; the page's own origin lets this page read its height.
export function mailFrame(source, title) {
  const frame = element("iframe", { title, srcdoc: source });
  frame.setAttribute("sandbox", "allow-same-origin");
  return frame;
}

const heightOf = (frame) => Math.max(frame.contentDocument?.body?.scrollHeight ?? 0, frame.contentDocument?.body?.getBoundingClientRect().bottom ?? 0, 40);

// A frame as wide as asked, made smaller where there is less room, and as high as what is in it.
export function scaled(frame, width, { most = Infinity } = {}) {
  const holder = element("div", { className: "scaled" }, frame);
  const fit = () => {
    const room = holder.clientWidth;
    if (!room || !frame.contentDocument) return;
    const scale = Math.min(1, room / width);
    frame.style.width = `${width}px`;
    frame.style.height = "0";
    const height = Math.min(heightOf(frame), most / scale);
    frame.style.height = `${height}px`;
    frame.style.transform = scale < 1 ? `scale(${scale})` : "";
    frame.style.marginLeft = scale < 1 ? "0" : `${(room - width) / 2}px`;
    holder.style.height = `${height * scale}px`;
  };
  frame.addEventListener("load", () => {
    fit();
    // Pictures come later, and a link must not lead away from the message.
    for (const image of frame.contentDocument.images) image.addEventListener("load", fit);
    frame.contentDocument.addEventListener("click", (event) => event.preventDefault());
  });
  new ResizeObserver(fit).observe(holder);
  return holder;
}

function toggles(legend, name, options, now, set) {
  return element("fieldset", { className: "segments small" }, element("legend", { className: "unseen", textContent: legend }),
    options.map(([value, label]) => {
      const input = element("input", { type: "radio", name, value: String(value), checked: value === now });
      input.addEventListener("input", (event) => event.stopPropagation()); // no change of the message
      input.addEventListener("change", () => set(value));
      return element("label", {}, input, element("span", { textContent: label }));
    }));
}

function mail(result, redraw) {
  const set = (name) => (value) => {
    settings[name] = value;
    redraw();
    document.querySelector(`#message input[name=mail-${name}]:checked`)?.focus();
  };
  const frame = mailFrame(framed(result.frame), "The e-mail as it would look");
  const said = [
    settings.dark && !HAS_DARK.test(result.frame) ? "Dark: the colours turned round, roughly as Gmail’s and Outlook’s apps do; Apple Mail leaves them." : "",
    settings.dark && HAS_DARK.test(result.frame) ? "Dark: the message’s own styles for it." : "",
    settings.blocked ? "Pictures blocked: what stands in alt is read in their place." : "",
  ].filter(Boolean).join(" ");
  return [
    element("div", { className: "tools" },
      toggles("Width", "mail-width", [[375, "Phone 375"], [600, "Desk 600"]], settings.width, set("width")),
      toggles("Colours", "mail-dark", [[false, "Light"], [true, "Dark"]], settings.dark, set("dark")),
      toggles("Pictures", "mail-blocked", [[false, "Pictures"], [true, "Blocked"]], settings.blocked, set("blocked"))),
    element("div", { className: `mail${settings.dark ? " dark" : ""}` },
      element("div", { className: "mail-head" },
        element("span", { className: "avatar", textContent: "S", "aria-hidden": "true" }),
        element("div", {},
          element("div", { className: "sender" }, element("b", { textContent: "Your shop" }), element("span", { textContent: "now" })),
          element("div", { className: "subject", textContent: result.title.trim() || "(no subject)" }),
          element("div", { className: "preheader", textContent: result.preheader.trim() || "(no preheader: the beginning of the message is shown)" }))),
      scaled(frame, settings.width)),
    said ? element("p", { className: "length", textContent: said }) : null,
  ];
}

const lengths = (text) => element("p", { className: "length", textContent: text });

const phone = {
  push: (result) => element("div", { className: "phone" }, element("div", { className: "clock", textContent: "9:41", "aria-hidden": "true" }),
    element("div", { className: "note" },
      element("div", { className: "app" }, element("b", { textContent: "Your app" }), element("span", { textContent: "now" })),
      element("div", { className: "title", textContent: result.title.trim() }),
      element("div", { className: "text", textContent: result.body.trim() }))),
  sms: (result) => element("div", { className: "phone thread" }, element("div", { className: "who", textContent: "Your shop" }),
    element("div", { className: "bubble", textContent: result.body.trim() })),
  "in-app": (result) => element("div", { className: "phone modal" }, element("div", { className: "dialog" },
    element("div", { className: "title", textContent: result.title.trim() }),
    element("div", { textContent: result.body.trim() }),
    element("span", { className: "close", textContent: "✕", "aria-hidden": "true" }))),
};

function said(channel, length) {
  if (channel === "push") return `Title ${length.title} characters, message ${length.message}. A locked phone shows about four lines.`;
  if (channel === "in-app") return `Header ${length.title} characters, message ${length.message}.`;
  const { characters, segments, encoding, outside } = length;
  const why = outside ? ` because of ${[...outside].join(" ")}` : "";
  return `${characters} characters in ${segments} ${segments === 1 ? "segment" : "segments"}, ${encoding}${why}.`;
}

// `redraw` is called when another width or look is chosen.
export const shown = (channel, result, redraw) => (channel === "email"
  ? mail(result, redraw)
  : [phone[channel](result), result.length ? lengths(said(channel, result.length)) : null]).filter(Boolean);

// The same, small and for the eye alone.
export function small(channel, result) {
  const picture = channel === "email" ? scaled(mailFrame(result.frame, ""), 600, { most: 150 }) : phone[channel](result);
  const holder = element("div", { className: `small-${channel === "email" ? "mail" : "phone"}`, "aria-hidden": "true" }, picture);
  holder.inert = true;
  return holder;
}

export function counted(name, text) {
  const count = [...text.trim()].length;
  const most = name === "title" ? SUBJECT_SHOWN : PREHEADER_SHOWN;
  if (!count) return "";
  return `${count} ${count === 1 ? "character" : "characters"}; ${count > most ? "cut on many phones, which show" : "phones show"} about ${most}`;
}
