// Sends operations to the endpoint beside which the page is served. Not where the token comes from.
import type { Fetcher, FetcherParams } from '@graphiql/toolkit';
import { Kind, parse } from 'graphql';

type ExecutionResult = {
  data?: Record<string, unknown> | null;
  errors?: { message: string; extensions?: { code?: string } }[];
};

const ENDPOINT = import.meta.env.BASE_URL.replace(/\/static\/$/, '');
const ACCEPT = 'application/graphql-response+json, application/json';

function csrfToken(): string | undefined {
  const found = document.cookie.split('; ').find((pair) => pair.startsWith('csrftoken='));
  return found?.slice('csrftoken='.length);
}

function requestHeaders(token: string, fromEditor: Record<string, string>): Headers {
  const headers = new Headers({ Accept: ACCEPT, 'Content-Type': 'application/json' });
  if (token !== '') {
    headers.set('Authorization', `Bearer ${token}`);
  }
  const csrf = csrfToken();
  if (csrf !== undefined) {
    headers.set('X-CSRFToken', csrf);
  }
  // What the person wrote in the headers editor is the more explicit wish.
  for (const [name, value] of Object.entries(fromEditor)) {
    headers.set(name, value);
  }
  return headers;
}

function failure(message: string): ExecutionResult {
  return { errors: [{ message }] };
}

async function readResult(response: Response): Promise<ExecutionResult> {
  const text = await response.text();
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === 'object' && body !== null && ('data' in body || 'errors' in body)) {
      return body as ExecutionResult;
    }
  } catch {
    // Falls through: a proxy's error page is no GraphQL answer, and its text would only confuse.
  }
  return failure(`The server answered HTTP ${response.status} without a GraphQL result.`);
}

function isUnauthenticated(response: Response, result: ExecutionResult): boolean {
  return response.status === 401 || (result.errors ?? []).some((e) => e.extensions?.code === 'UNAUTHENTICATED');
}

/**
 * The operation to run, or undefined when the document has none of that name: just after a change of tabs GraphiQL still
 * gives the name from the tab before.
 */
function operationIn(query: string, name: string | null | undefined): string | undefined {
  try {
    const { definitions } = parse(query, { noLocation: true });
    return definitions.some((d) => d.kind === Kind.OPERATION_DEFINITION && d.name?.value === name)
      ? (name ?? undefined)
      : undefined;
  } catch {
    // The server says what is wrong with the document.
    return name ?? undefined;
  }
}

async function send(params: FetcherParams, headers: Headers): Promise<Response> {
  const { query, variables } = params;
  const operationName = operationIn(query, params.operationName);
  return fetch(ENDPOINT, {
    method: 'POST',
    headers,
    body: JSON.stringify({ query, operationName, variables }),
    // With no token the session cookie signs the person in; it must never travel to another origin.
    credentials: 'same-origin',
    cache: 'no-store',
    redirect: 'error',
  });
}

/** A fetcher that sends `token` (none: the session cookie) and tells after each answer whether it was refused. */
export function createFetcher(token: string, onAnswer: (unauthenticated: boolean) => void): Fetcher {
  return async (params, options) => {
    let headers: Headers;
    try {
      headers = requestHeaders(token, (options?.headers ?? {}) as Record<string, string>);
    } catch {
      return failure('The token or a request header holds a character that HTTP does not allow.');
    }
    let response: Response;
    try {
      response = await send(params, headers);
    } catch {
      return failure('The server did not answer. Is it running, and does the network reach it?');
    }
    const result = await readResult(response);
    onAnswer(isUnauthenticated(response, result));
    return result;
  };
}
