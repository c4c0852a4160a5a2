/** The pages hold what they promise: the documentation knows every error code, nothing is loaded from elsewhere, nothing is inline. */

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { knownErrors } from '../sdk/errors.js';

const read = (name) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8');

test('the_documentation_lists_every_error_code', () => {
  const docs = read('docs.html');
  for (const [code, { name }] of knownErrors()) assert.ok(docs.includes(`<td><code>${code}</code></td><td>${name}</td>`), `${code} ${name}`);
});

test('pages_work_under_a_content_security_policy_of_self', () => {
  for (const page of ['index.html', 'docs.html']) {
    const html = read(page);
    assert.doesNotMatch(html, /<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc="\/)/);
    assert.doesNotMatch(html, /(?:src|<link[^>]*href)="(?:https?:)?\/\//);
  }
});

test('every_control_has_a_name', () => {
  const html = read('index.html');
  for (const [, id] of html.matchAll(/<(?:input|textarea|meter)[^>]*\sid="([^"]+)"/g)) assert.ok(html.includes(`<label for="${id}">`), id);
});
