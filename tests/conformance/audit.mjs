// GraphQL over HTTP: runs the audits of graphql-http against a server and prints those that do not pass.
// usage: node audit.mjs URL [BEARER_TOKEN]
import { serverAudits } from 'graphql-http';

const [url, token] = process.argv.slice(2);
if (!url) {
  console.error('usage: node audit.mjs URL [BEARER_TOKEN]');
  process.exit(2);
}

const fetchFn = (input, init = {}) => {
  const headers = new Headers(init.headers);
  if (token) headers.set('authorization', `Bearer ${token}`);
  return fetch(input, { ...init, headers });
};

const counts = {};
for (const audit of serverAudits({ url, fetchFn })) {
  const { status, reason } = await audit.fn();
  counts[status] = (counts[status] ?? 0) + 1;
  if (status !== 'ok') console.log(`${status} ${audit.id} ${audit.name}: ${reason}`);
}
console.log(Object.entries(counts).map(([status, count]) => `${count} ${status}`).join(', '));
process.exit(Object.keys(counts).every((status) => status === 'ok') ? 0 : 1);
