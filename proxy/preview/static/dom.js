// What every part of the page uses. Text is always put in as text.

export const $ = (id) => document.getElementById(id);

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.includes("-") || key === "role") made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

export const button = (text, press, properties = {}) => {
  const made = element("button", { type: "button", textContent: text, ...properties });
  made.addEventListener("click", press);
  return made;
};

export async function ask(path, body, signal) {
  const how = body === undefined ? {} : {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  // Not relative: an address that holds name and secret, as `make run` prints it, can't be fetched from.
  const response = await fetch(location.origin + path, { ...how, signal });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.detail || answer.title);
  return answer;
}

export function later(run, milliseconds) {
  let timer;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(run, milliseconds);
  };
  soon.cancel = () => clearTimeout(timer);
  return soon;
}

export function announce(text) {
  $("announcer").textContent = "";
  setTimeout(() => ($("announcer").textContent = text), 50);
}

// Only words: the name of a parameter or of an option stays as it is written.
export const capital = (text) => (/^[a-z]+[ ,]/.test(text) ? text.charAt(0).toUpperCase() + text.slice(1) : text);

export async function copy(text, name) {
  let copied = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without TLS a browser has no clipboard API; the old way still works there.
    const before = document.activeElement;
    const holder = element("textarea", { value: text, className: "unseen" });
    (document.querySelector("dialog[open]") || document.body).append(holder);
    holder.select();
    copied = document.execCommand("copy");
    holder.remove();
    before?.focus();
  }
  announce(`${name} ${copied ? "copied" : "could not be copied; select it and copy it yourself"}`);
  return copied;
}
