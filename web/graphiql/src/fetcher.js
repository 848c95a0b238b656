// How the page talks with the server: queries and mutations by POST, subscriptions over a WebSocket.
import { getOperationAST, parse } from 'graphql';
import { createClient } from 'graphql-ws';
import { fill, remember } from './ids.js';

const PATH = '/graphql';

/** All headers by their lower-case names. */
const lowerCase = (headers) =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));

/** What a socket's end says, as a result that the page can show. */
function asResult(failure) {
  if (Array.isArray(failure)) return { errors: failure };
  if (failure instanceof CloseEvent) {
    return { errors: [{ message: `The socket was closed: ${failure.code} ${failure.reason}`.trim() }] };
  }
  return { errors: [{ message: failure?.message ?? 'The socket could not be opened.' }] };
}

/** `authorization` stands in where the headers editor has none, as in the page's own first look at the schema. */
export function createFetcher(authorization) {
  let socket;

  /** One socket for each credential: it is told once, when the socket opens. */
  function socketFor(credential) {
    if (socket?.credential !== credential) {
      socket?.client.dispose();
      const url = new URL(PATH, location.href);
      url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
      const client = createClient({
        url: url.href,
        lazy: true,
        retryAttempts: 0,
        connectionParams: credential ? { authorization: credential } : undefined,
      });
      socket = { credential, client };
    }
    return socket.client;
  }

  async function* subscribe(params, headers) {
    const results = socketFor(headers.authorization).iterate(params);
    try {
      for await (const result of results) {
        remember(result);
        yield result;
      }
    } catch (failure) {
      yield asResult(failure);
    }
  }

  async function post(params, headers) {
    const response = await fetch(PATH, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        accept: 'application/graphql-response+json, application/json',
        ...headers,
      },
      body: JSON.stringify(params),
    });
    const result = await response.json();
    remember(result);
    return result;
  }

  return ({ query, operationName, variables }, options = {}) => {
    const params = { query, operationName, variables: fill(variables) };
    const headers = { ...(authorization && { authorization }), ...lowerCase(options.headers ?? {}) };
    let operation;
    try {
      operation = getOperationAST(options.documentAST ?? parse(query), operationName);
    } catch {
      // Not GraphQL: the server says where.
    }
    return operation?.operation === 'subscription' ? subscribe(params, headers) : post(params, headers);
  };
}
