// Puts the token bar and GraphiQL together. Not where either is defined.
import { explorerPlugin } from '@graphiql/plugin-explorer';
import { GraphiQL, HISTORY_PLUGIN } from 'graphiql';
import { type ReactElement, useCallback, useEffect, useMemo, useState } from 'react';

import { AGENT_RUNS, DRIFT_WORK_LIST } from './examples';
import { createFetcher } from './fetcher';
import { readToken, takeTokenFromAddress, writeToken } from './token';
import { TokenBar } from './TokenBar';

// Made once: a plugin made in a render would be a new one each time, and its pane would close.
const PLUGINS = [HISTORY_PLUGIN, explorerPlugin({ showAttribution: false })];
const FIRST_TABS = [{ query: DRIFT_WORK_LIST }, { query: AGENT_RUNS }];

export function App(): ReactElement {
  const [token, setToken] = useState(readToken);
  const [refused, setRefused] = useState(false);

  const applyToken = useCallback((next: string) => {
    writeToken(next);
    setToken(next);
    setRefused(false);
  }, []);

  useEffect(() => {
    // A link with a token opened in this very tab changes only the fragment, so the page is not loaded again.
    const onHashChange = () => {
      const next = takeTokenFromAddress();
      if (next !== undefined) {
        applyToken(next);
      }
    };
    window.addEventListener('hashchange', onHashChange);
    return () => window.removeEventListener('hashchange', onHashChange);
  }, [applyToken]);

  // A new fetcher makes GraphiQL read the schema again, which is what a new token may change.
  const fetcher = useMemo(() => createFetcher(token, setRefused), [token]);

  return (
    <>
      <TokenBar token={token} refused={refused} onToken={applyToken} />
      <main className="dg-main">
        <GraphiQL
          fetcher={fetcher}
          plugins={PLUGINS}
          defaultTabs={FIRST_TABS}
          defaultEditorToolsVisibility={false}
          inputValueDeprecation
          schemaDescription
          shouldPersistHeaders={false}
        >
          <GraphiQL.Logo>GraphiQL</GraphiQL.Logo>
        </GraphiQL>
      </main>
    </>
  );
}
