// When a message was written: the server gives the model's messages ids that begin with the time. Pure.

const UUID7 = /([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/;

// In milliseconds; null where the id does not say it.
export function timeOf(id) {
  const found = UUID7.exec(id ?? "");
  return found ? parseInt(found[1] + found[2], 16) : null;
}

export function timeInWords(ms, now = Date.now(), locale = undefined) {
  const isToday = new Date(ms).toDateString() === new Date(now).toDateString();
  const day = isToday ? {} : { day: "numeric", month: "short" };
  return new Intl.DateTimeFormat(locale, { ...day, hour: "2-digit", minute: "2-digit" }).format(ms);
}
