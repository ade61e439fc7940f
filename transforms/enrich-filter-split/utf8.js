// UTF-8 where there is no TextDecoder, as in QuickJS.
//
// Always true: what is not UTF-8 throws; a lone surrogate is written as U+FFFD.

const decoder = typeof TextDecoder === "function" ? new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }) : undefined;
const encoder = typeof TextEncoder === "function" ? new TextEncoder() : undefined;

export const decode = (bytes) => (decoder === undefined ? decodeByHand(bytes) : decoder.decode(bytes));
export const encode = (text) => (encoder === undefined ? encodeByHand(text) : encoder.encode(text));

export function decodeByHand(bytes) {
  let escaped = "";
  for (const byte of bytes) {
    escaped += byte < 0x80 && byte !== 0x25 ? String.fromCharCode(byte) : "%" + byte.toString(16).padStart(2, "0");
  }
  return decodeURIComponent(escaped);
}

export function encodeByHand(text) {
  const escaped = encodeURIComponent(text.toWellFormed());
  const bytes = new Uint8Array(escaped.length);
  let length = 0;
  for (let at = 0; at < escaped.length; at++) {
    const isEscape = escaped[at] === "%";
    bytes[length++] = isEscape ? parseInt(escaped.slice(at + 1, at + 3), 16) : escaped.charCodeAt(at);
    if (isEscape) at += 2;
  }
  return bytes.slice(0, length);
}
