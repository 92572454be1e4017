// Nothing typed is lost: the message at hand and the drafts are kept in this browser, and every change can be undone.

const NOW = "preview.now";
const DRAFTS = "preview.drafts";
const MOST_DRAFTS = 24;
const MOST_STEPS = 200;
const memory = new Map(); // where the browser keeps nothing, for as long as the page is open

function load(key, otherwise) {
  try {
    const kept = localStorage.getItem(key) ?? memory.get(key);
    return kept ? JSON.parse(kept) : otherwise;
  } catch {
    return JSON.parse(memory.get(key) ?? "null") ?? otherwise;
  }
}

function save(key, value) {
  const text = JSON.stringify(value);
  memory.set(key, text);
  try {
    localStorage.setItem(key, text);
  } catch {
    // Full, or forbidden: it is kept in memory.
  }
}

const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

let last = null; // what this tab kept

export const drafts = {
  now: () => load(NOW, null),
  keepNow(message, isTouched) {
    const before = drafts.now();
    // Another tab's, which would be written over.
    if (last && before?.isTouched && !same(before, last)) drafts.keep(before.message);
    last = { message, isTouched };
    save(NOW, last);
  },
  all: () => load(DRAFTS, []),
  keep(message) {
    if (!message.body.trim() && !message.title.trim()) return;
    const others = drafts.all().filter((draft) => !same(draft.message, message));
    save(DRAFTS, [{ at: Date.now(), message }, ...others].slice(0, MOST_DRAFTS));
  },
  remove(at) {
    save(DRAFTS, drafts.all().filter((draft) => draft.at !== at));
  },
};

export class Steps {
  #done = [];
  #at = -1;

  note(message) {
    const text = JSON.stringify(message);
    if (this.#done[this.#at] === text) return;
    this.#done = [...this.#done.slice(Math.max(0, this.#at - MOST_STEPS), this.#at + 1), text];
    this.#at = this.#done.length - 1;
  }

  go(by) {
    if (!this.can(by)) return null;
    this.#at += by;
    return JSON.parse(this.#done[this.#at]);
  }

  can(by) {
    return this.#at + by >= 0 && this.#at + by < this.#done.length;
  }
}
