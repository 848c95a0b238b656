// Carries ids from one step to the next: a variable `"cli_..."` stands for the last client that the page has seen.

const ID = /^[a-z]{3}_(?!\.\.\.$)[\w-]+$/;
const PLACEHOLDER = /^([a-z]{3}_)\.\.\.$/;
const KEY = 'tandem.ids';

const read = () => JSON.parse(sessionStorage.getItem(KEY) ?? '{}');

/** The ids in a result, by their prefix. Of several, the first: a list's newest, a payload's own. */
function found(value, ids = {}) {
  if (typeof value === 'string') {
    if (ID.test(value)) ids[value.slice(0, 4)] ??= value;
  } else if (value && typeof value === 'object') {
    for (const inner of Object.values(value)) found(inner, ids);
  }
  return ids;
}

export function remember(result) {
  sessionStorage.setItem(KEY, JSON.stringify({ ...read(), ...found(result?.data) }));
}

/** The variables with their placeholders replaced by ids, where one is known. */
export function fill(value, ids = read()) {
  if (typeof value === 'string') return ids[value.match(PLACEHOLDER)?.[1]] ?? value;
  if (Array.isArray(value)) return value.map((inner) => fill(inner, ids));
  if (value && typeof value === 'object') {
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, fill(inner, ids)]));
  }
  return value;
}
