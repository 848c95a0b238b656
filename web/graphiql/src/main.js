import { explorerPlugin } from '@graphiql/plugin-explorer';
import { GraphiQL } from 'graphiql';
import { createElement } from 'react';
import { createRoot } from 'react-dom/client';
import 'graphiql/style.css';
import '@graphiql/plugin-explorer/style.css';
import './page.css';
import { createFetcher } from './fetcher.js';

/** The key and the tabs to begin with, as the server knows them; without them the page begins empty. */
async function start() {
  try {
    const response = await fetch('/graphiql/start.json');
    if (response.ok) return await response.json();
  } catch {
    // The server is gone; every query will say so.
  }
  return { key: null, operations: [] };
}

const { key, operations } = await start();
const tabs = operations.map(({ query, variables }) => ({ query, variables }));

// The first tab's variables are the only ones that do not come from the tabs.
const isFirstVisit = localStorage.getItem('graphiql:tabState') === null;
const authorization = key && `Bearer ${key}`;

createRoot(document.getElementById('page')).render(
  createElement(GraphiQL, {
    fetcher: createFetcher(authorization),
    // A tab that has no headers of its own shows these, so a new key reaches tabs that the browser remembers.
    defaultHeaders: JSON.stringify({ Authorization: authorization ?? 'Bearer YOUR_KEY' }, null, 2),
    shouldPersistHeaders: false,
    defaultTabs: tabs.length > 0 ? tabs : undefined,
    variables: isFirstVisit ? tabs[0]?.variables : undefined,
    defaultEditorToolsVisibility: 'variables',
    plugins: [explorerPlugin()],
  }),
);
