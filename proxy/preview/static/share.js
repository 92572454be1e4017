// A link that holds the message behind its #, which a browser sends to no server.

const MARK = "#m=";

async function through(stream, bytes) {
  return new Uint8Array(await new Response(new Blob([bytes]).stream().pipeThrough(stream)).arrayBuffer());
}

// Values that are a person's own are left out.
export async function linkOf(message, personal) {
  const isPersonal = ([group, name]) => personal.some(([kind, own]) => kind === group && own === name);
  const shared = { ...message, rows: message.rows.filter((row) => !isPersonal(row)) };
  const packed = await through(new CompressionStream("deflate-raw"), new TextEncoder().encode(JSON.stringify(shared)));
  const text = btoa(Array.from(packed, (byte) => String.fromCharCode(byte)).join(""));
  return `${location.origin}${location.pathname}${MARK}${text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

export const isLink = () => location.hash.startsWith(MARK);

export async function messageOf(hash) {
  const text = atob(hash.slice(MARK.length).replaceAll("-", "+").replaceAll("_", "/"));
  const packed = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const message = JSON.parse(new TextDecoder().decode(await through(new DecompressionStream("deflate-raw"), packed)));
  const texts = ["channel", "title", "preheader", "body"].every((name) => typeof message[name] === "string");
  const rows = Array.isArray(message.rows) && message.rows.every((row) => row.length === 3 && row.every((cell) => typeof cell === "string"));
  if (!texts || !rows) throw new Error("not a message");
  return message;
}
