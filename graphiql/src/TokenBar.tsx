// The bar above GraphiQL: who the requests are signed as. Not how they are sent.
import { type FormEvent, type ReactElement, useEffect, useState } from 'react';

interface TokenBarProps {
  token: string;
  refused: boolean;
  onToken: (token: string) => void;
}

function statusText(token: string, refused: boolean): string {
  if (!refused) {
    return token === '' ? 'Using your browser session' : 'Using the API token';
  }
  return token === ''
    ? 'You are not signed in. Paste an API token, or sign in at /accounts/login/ and come back.'
    : 'The server refused this API token: it is unknown, expired or revoked. Paste another one, or clear it.';
}

export function TokenBar({ token, refused, onToken }: TokenBarProps): ReactElement {
  const [draft, setDraft] = useState(token);
  const [shown, setShown] = useState(false);

  useEffect(() => setDraft(token), [token]);

  const apply = (event?: FormEvent) => {
    event?.preventDefault();
    onToken(draft.trim());
  };

  return (
    <header className="dg-bar">
      <span className="dg-name">
        <img src={`${import.meta.env.BASE_URL}favicon.svg`} alt="" width="22" height="22" />
        Driftgraph
      </span>
      <form className="dg-token" onSubmit={apply}>
        <label htmlFor="dg-token">API token</label>
        <input
          id="dg-token"
          type={shown ? 'text' : 'password'}
          value={draft}
          placeholder="dg_..."
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          aria-describedby="dg-status"
          aria-invalid={refused}
          onChange={(event) => setDraft(event.target.value)}
          onBlur={() => apply()}
        />
        <button type="button" aria-pressed={shown} aria-controls="dg-token" onClick={() => setShown(!shown)}>
          {shown ? 'Hide' : 'Show'}
        </button>
        <button type="submit">Use</button>
        <button type="button" disabled={draft === ''} onClick={() => onToken('')}>
          Clear
        </button>
      </form>
      <p id="dg-status" className={refused ? 'dg-status dg-refused' : 'dg-status'} role="status">
        {statusText(token, refused)}
      </p>
    </header>
  );
}
