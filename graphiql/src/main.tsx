// Starts the page: workers first, then the token from the address, then React. Nothing else.
import './workers';

import '@graphiql/react/style.css';
import '@graphiql/plugin-doc-explorer/style.css';
import '@graphiql/plugin-history/style.css';
import '@graphiql/plugin-explorer/style.css';
import 'graphiql/graphiql.css';
import './style.css';

import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';

import { App } from './App';
import { takeTokenFromAddress } from './token';

takeTokenFromAddress();

const root = document.getElementById('root');
if (root === null) {
  throw new Error('The page has no #root element.');
}
createRoot(root).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
