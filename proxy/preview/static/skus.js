// The SKUs to preview with: chips, and a list to choose from with stars and counts.

import { $, announce, button, element, later } from "./dom.js";

export const rated = (product) => (product.total ? `★ ${product.average_text} (${product.total.toLocaleString("en")})` : "no reviews");

export class SkuPicker {
  #chosen = [];
  #products = [];
  #active = -1;
  #changed;
  #search;
  #asked = new Set();

  // `search` finds products by a part of their SKU; the first ones come through `know`.
  constructor(changed, search) {
    this.#changed = changed;
    this.#search = later(async () => {
      const typed = $("sample").value.trim();
      // The beginning too: what follows may be misspelt.
      for (const part of new Set([typed, typed.slice(0, 3)])) {
        if (part.length < 2 || this.#asked.has(part)) continue;
        this.#asked.add(part);
        await search(part).then((found) => this.know(found), () => this.#asked.delete(part));
      }
    }, 200);
    this.multiple = false;
    const input = $("sample");
    input.addEventListener("input", (event) => {
      event.stopPropagation(); // no change of the message before it is a chip
      if (/[,\n]/.test(input.value)) this.#take(input.value);
      else this.#open();
    });
    input.addEventListener("focus", () => this.#open());
    input.addEventListener("click", () => this.#open());
    input.addEventListener("blur", () => {
      if (input.value.trim()) this.#take(input.value);
      this.#close();
    });
    input.addEventListener("keydown", (event) => this.#key(event));
    // Before the field loses the focus, which would take what is typed.
    $("sku-list").addEventListener("mousedown", (event) => {
      event.preventDefault();
      const option = event.target.closest("[role=option]");
      if (option) this.#take(option.dataset.sku);
    });
  }

  get chosen() {
    return this.#chosen;
  }

  set(skus) {
    if (skus.join("\n") === this.#chosen.join("\n")) return;
    this.#chosen = skus;
    this.#draw();
  }

  know(products) {
    const known = new Map([...this.#products, ...products].map((one) => [one.sku, one]));
    this.#products = [...known.values()].sort((one, other) => other.total - one.total);
    this.#draw();
  }

  // What was meant by a SKU that nobody has reviewed: one that is spelt nearly so.
  nearest(sku) {
    const near = this.#products
      .filter((one) => one.total && one.sku !== sku)
      .map((one) => [distance(sku.toLowerCase(), one.sku.toLowerCase()), one])
      .filter(([far, one]) => far <= Math.max(1, Math.floor(one.sku.length / 4)))
      .sort(([far], [further]) => far - further);
    return near[0]?.[1];
  }

  replace(sku, other) {
    this.#choose(this.#chosen.map((one) => (one === sku ? other : one)));
  }

  #take(text) {
    const skus = text.split(/[,\n]/).map((sku) => sku.trim()).filter(Boolean);
    $("sample").value = "";
    if (skus.length) this.#choose(this.multiple ? [...this.#chosen, ...skus] : skus);
    this.#close();
  }

  #choose(skus) {
    this.#chosen = [...new Set(skus)];
    this.#draw();
    announce(this.#chosen.length ? `Previewed with ${this.#chosen.join(", ")}` : "Previewed without a SKU");
    this.#changed();
  }

  #draw() {
    $("chips").replaceChildren(...this.#chosen.map((sku) => {
      const product = this.#products.find((one) => one.sku === sku);
      return element("li", {}, element("b", { textContent: sku }),
        product ? element("span", { textContent: rated(product) }) : null,
        button("✕", () => {
          this.#choose(this.#chosen.filter((one) => one !== sku));
          $("sample").focus();
        }, { "aria-label": `Remove ${sku}` }));
    }));
    if ($("sample").getAttribute("aria-expanded") === "true" || document.activeElement === $("sample") && $("sample").value) this.#open();
  }

  #open() {
    const typed = $("sample").value.trim();
    this.#search();
    const like = (one) => !this.#chosen.includes(one.sku) && one.sku.toLowerCase().includes(typed.toLowerCase());
    const offered = this.#products.filter(like).slice(0, 50);
    if (typed && !this.#products.some((one) => one.sku === typed)) {
      const meant = this.nearest(typed);
      if (meant && !offered.includes(meant)) offered.push(meant);
      offered.push({ sku: typed, isTyped: true });
    }
    this.#active = -1;
    $("sku-list").replaceChildren(...offered.map((one, at) => element("li", { role: "option", id: `sku-${at}`, "data-sku": one.sku, "aria-selected": "false" },
      element("b", { textContent: one.isTyped ? `Use “${one.sku}”` : one.sku }),
      one.isTyped ? null : element("span", { textContent: rated(one) }))));
    const isOpen = offered.length > 0 && document.activeElement === $("sample");
    $("sku-list").hidden = !isOpen;
    $("sample").setAttribute("aria-expanded", String(isOpen));
    $("sample").removeAttribute("aria-activedescendant");
  }

  #close() {
    $("sku-list").hidden = true;
    $("sample").setAttribute("aria-expanded", "false");
    $("sample").removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const options = [...$("sku-list").children];
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      if ($("sku-list").hidden) this.#open();
      const count = $("sku-list").children.length;
      if (!count) return;
      this.#active = (this.#active + (event.key === "ArrowDown" ? 1 : -1) + count) % count;
      [...$("sku-list").children].forEach((option, at) => option.setAttribute("aria-selected", String(at === this.#active)));
      const active = $("sku-list").children[this.#active];
      active.scrollIntoView({ block: "nearest" });
      $("sample").setAttribute("aria-activedescendant", active.id);
      event.preventDefault();
    } else if (event.key === "Enter") {
      event.preventDefault();
      this.#take(options[this.#active]?.dataset.sku ?? $("sample").value);
    } else if (event.key === "Escape") {
      this.#close();
    } else if (event.key === "Backspace" && !$("sample").value && this.#chosen.length) {
      this.#choose(this.#chosen.slice(0, -1));
    }
  }
}

// Levenshtein's, with two letters that changed places as one step.
function distance(one, other) {
  const rows = [Array.from({ length: other.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= one.length; i++) {
    rows[i] = [i];
    for (let j = 1; j <= other.length; j++) {
      const differs = one[i - 1] === other[j - 1] ? 0 : 1;
      rows[i][j] = Math.min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, rows[i - 1][j - 1] + differs);
      if (i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1]) {
        rows[i][j] = Math.min(rows[i][j], rows[i - 2][j - 2] + 1);
      }
    }
  }
  return rows[one.length][other.length];
}
