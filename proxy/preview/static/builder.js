// The choices of step 2: read from the message's tag, and written into it.

import { $, announce } from "./dom.js";

const FILTERS = [
  "language", "limit", "sort", "min_chars", "max_chars", "max_age_days", "with_image", "min_reviews", "min_average",
];
const DEFAULTS = { limit: "3", sort: "newest", with_image: "false" };
const stars = () => [...document.querySelectorAll("input[name=stars]")];

export const isFixed = () => $("source").value === "fixed";

// `sku` is the one chosen for the preview, which is the tag's own where that has a fixed one.
export function choices(channel, skus) {
  const chosen = stars().filter((box) => box.checked).map((box) => box.value).reverse();
  const written = { fixed: skus.join(","), kept: $("source").dataset.kept }[$("source").value];
  return {
    channel,
    kind: $("kind").value,
    source: $("source").value,
    sku: written ?? $("property").value.trim(),
    credential: $("credential").value.trim(),
    fallback: $("fallback").value,
    fallback_text: $("fallback_text").value,
    display_locale: $("display_locale").value.trim(),
    filters: {
      stars: chosen.length === 5 ? "" : chosen.join(","),
      ...Object.fromEntries(FILTERS.map((id) => [id, $(id).value])),
    },
  };
}

// Shows what the message says; `read` is the server's.
export function fill(read) {
  const chosen = read.choices;
  $("builder").hidden = !chosen;
  $("yours").hidden = Boolean(chosen);
  $("around").hidden = !chosen || read.writes_block;
  $("kind").disabled = $("fallback").disabled = $("fallback_text").disabled = !read.writes_block;
  if (!chosen) {
    $("yours-because").textContent = `This text is yours: ${read.because}, and the builder changes one tag only.`;
    $("put-in").textContent = read.because === "it makes no call" ? "Put reviews in at the cursor" : "Begin anew with one tag";
    return;
  }
  $("kind").value = chosen.kind;
  $("source").value = chosen.source;
  $("source").querySelector("[value=kept]").hidden = chosen.source !== "kept";
  if (chosen.source === "kept") $("source").dataset.kept = chosen.sku;
  else if (chosen.source !== "fixed") $("property").value = chosen.sku;
  $("credential").value = chosen.credential;
  $("fallback").value = chosen.fallback;
  if (chosen.fallback_text) $("fallback_text").value = chosen.fallback_text;
  $("display_locale").value = chosen.display_locale;
  const given = (chosen.filters.stars || "").split(",");
  for (const box of stars()) box.checked = given.includes(box.value);
  for (const id of FILTERS) $(id).value = chosen.filters[id] ?? DEFAULTS[id] ?? "";
  follow();
  showWrong({});
}

// What follows from the choices alone.
export function follow() {
  const kind = $("kind").value;
  const source = $("source").value;
  $("property-field").hidden = source === "fixed" || source === "kept";
  $("picker-field").hidden = source === "kept";
  $("sample-label").textContent = source === "fixed" ? "SKU" : "Preview with SKU";
  $("sample-hint").textContent = {
    products: "One chip for each product of the cart.",
  }[kind] ?? "Several with commas between are variants of one product.";
  $("filters").hidden = kind === "stars";
  $("fallback-text-field").hidden = $("fallback").value !== "text";
  const chosen = stars().filter((box) => box.checked).map((box) => box.value).reverse();
  $("stars-said").textContent = chosen.length === 0 ? "None chosen: all stars are shown."
    : chosen.length === 5 ? "All stars are shown."
      : `Only ${chosen.join(" & ")} ${chosen.join() === "1" ? "star" : "stars"} are shown, and the message has to say so.`;
  $("languages-said").textContent = $("language").value.trim() ? "" : "None given: all languages.";
}

export function showWrong(mistakes) {
  for (const field of ["property", "sample", "stars", ...FILTERS, "display_locale", "credential"]) {
    const name = field === "property" || field === "sample" ? "sku" : field;
    const here = name !== "sku" || isFixed() === (field === "sample");
    const text = here ? mistakes[name] || "" : "";
    $(`${field}-wrong`).textContent = text;
    $(field)?.setAttribute("aria-invalid", String(Boolean(text)));
    if (text && $(field)?.closest("details")) $(field).closest("details").open = true;
  }
  const first = Object.values(mistakes)[0];
  if (first) announce(`A choice is wrong: ${first}`);
}
