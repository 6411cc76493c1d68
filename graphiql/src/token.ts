// Where the API token lives in the browser: sessionStorage of this tab, nowhere else. Not how it is sent.

const STORAGE_KEY = 'driftgraph:token';
const FRAGMENT_KEY = 'token';

export function readToken(): string {
  return sessionStorage.getItem(STORAGE_KEY) ?? '';
}

export function writeToken(token: string): void {
  if (token === '') {
    sessionStorage.removeItem(STORAGE_KEY);
  } else {
    sessionStorage.setItem(STORAGE_KEY, token);
  }
}

/**
 * The token in the address (`#token=...`), kept for this tab and removed from the address bar and the history entry;
 * undefined when there is none. A fragment never reaches a server or its log.
 */
export function takeTokenFromAddress(): string | undefined {
  const fragment = new URLSearchParams(window.location.hash.slice(1));
  const token = fragment.get(FRAGMENT_KEY)?.trim();
  if (!token) {
    return undefined;
  }
  fragment.delete(FRAGMENT_KEY);
  const rest = fragment.toString();
  const address = window.location.pathname + window.location.search + (rest === '' ? '' : `#${rest}`);
  window.history.replaceState(null, '', address);
  writeToken(token);
  return token;
}
