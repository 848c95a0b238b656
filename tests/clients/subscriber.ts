// A subscriber made of a stock client and clients/resume.ts: prints what it hears, one JSON object a line.
// usage: TANDEM_API_KEY=… node build/tests/clients/subscriber.js ws|sse|iterate|older HOST:PORT [AFTER]
import { createClient as overEvents } from 'graphql-sse';
import { createClient as overSocket } from 'graphql-ws';
import { SubscriptionClient } from 'subscriptions-transport-ws';
import WebSocket from 'ws';
import { resume } from '../../clients/resume.js';

const [kind, address, after] = process.argv.slice(2);
const authorization = `Bearer ${process.env.TANDEM_API_KEY}`;
const say = (what: unknown) => console.log(JSON.stringify(what));
const soon = () => new Promise<void>((resolve) => setTimeout(resolve, 20));
const options = {
  onExpired: (oldest?: string) => say({ expired: oldest }),
  onCursor: (cursor: string) => say({ cursor }),
};
const payload = {
  query: `subscription ($after: EventCursor) {
    events(after: $after, filter: { types: [MESSAGE_INCOMING] }) {
      __typename ... on IncomingMessageEvent { id message { text } } } }`,
  variables: { after },
};
const sink = {
  next: (result: unknown) => say({ result }),
  error: (error: unknown) => say({ error: String(error) }),
  complete: () => say({ complete: true }),
};
const socket = () =>
  resume(
    overSocket({
      url: `ws://${address}/graphql`,
      connectionParams: { authorization },
      webSocketImpl: WebSocket,
      retryAttempts: 1000,
      retryWait: soon,
      shouldRetry: () => true,
    }),
    options,
  );

switch (kind) {
  case 'ws':
    socket().subscribe(payload, sink);
    break;
  case 'iterate':
    for await (const result of socket().iterate(payload)) sink.next(result);
    break;
  case 'sse': {
    const client = overEvents({
      url: `http://${address}/graphql`,
      headers: { authorization },
      retryAttempts: 1000,
      retry: soon,
    });
    resume(client, options).subscribe(payload, sink);
    break;
  }
  case 'older': {
    const client = new SubscriptionClient(
      `ws://${address}/graphql`,
      { connectionParams: { authorization }, reconnect: true },
      WebSocket,
    );
    client.request(payload).subscribe(sink);
    break;
  }
  default:
    throw new Error(`unknown kind ${kind}`);
}
