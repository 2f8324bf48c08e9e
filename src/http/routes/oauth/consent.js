(() => {
  'use strict';
  const form = document.getElementById('consent');
  const field = (name) => form.elements.namedItem(name);
  const wallets = document.getElementById('wallets');
  const say = (text) => { document.getElementById('status').textContent = text; };

  const send = async (path, body) => {
    const response = await fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error_description || answer.error || 'The server refused it.');
    return answer;
  };

  const terms = () => {
    if (!form.reportValidity()) throw new Error('Please correct the marked field.');
    const scopes = [...form.querySelectorAll('input[name=scope]:checked')].map((box) => box.value);
    if (scopes.length === 0) throw new Error('Leave at least one box checked.');
    const limits = {};
    for (const [name, limit] of [['daily', 'dailyUsd'], ['total', 'totalUsd']]) {
      const text = field(name).value.trim().replace(/^\$/, '');
      if (text !== '') limits[limit] = text;
    }
    const ends = Date.now() + Number(field('days').value) * 86400000;
    return { request: field('request').value, scopes, limits, expiresAt: new Date(ends).toISOString() };
  };

  // Asks for the message, has it signed, and goes where the answer says.
  const allow = async (address, sign) => {
    const chosen = terms();
    const { message } = await send('/oauth/message', { ...chosen, walletAddress: address });
    const signature = await sign(message);
    await finish({ ...chosen, walletAddress: address, message, signature });
  };
  const finish = async (body) => {
    const { redirect } = await send('/oauth/authorize', body);
    say('Allowed. You are sent back to the program; this window can be closed then.');
    location.assign(redirect);
  };
  const run = (button, work) => async () => {
    button.disabled = true;
    say('');
    try {
      await work();
    } catch (error) {
      say(error && error.code === 4001 ? 'Nothing was signed.' : String((error && error.message) || error));
    } finally {
      button.disabled = false;
    }
  };

  const hex = (text) =>
    '0x' + [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, '0')).join('');

  // EIP-6963: every wallet of the browser announces itself.
  const seen = new Set();
  addEventListener('eip6963:announceProvider', ({ detail }) => {
    if (!detail || !detail.provider || seen.has(detail.info.uuid)) return;
    seen.add(detail.info.uuid);
    document.getElementById('none').hidden = true;
    const button = document.createElement('button');
    button.type = 'button';
    if (/^data:image\//.test(detail.info.icon)) {
      const icon = document.createElement('img');
      icon.src = detail.info.icon;
      icon.alt = '';
      button.append(icon);
    }
    button.append('Allow with ' + detail.info.name);
    button.addEventListener('click', run(button, async () => {
      const [address] = await detail.provider.request({ method: 'eth_requestAccounts' });
      say('Read the message in your wallet, and sign it.');
      await allow(address, (message) =>
        detail.provider.request({ method: 'personal_sign', params: [hex(message), address] }));
    }));
    wallets.append(button);
  });
  dispatchEvent(new Event('eip6963:requestProvider'));

  // Signed elsewhere: the terms are those of the message that was shown.
  let shown = null;
  const show = document.getElementById('show');
  show.addEventListener('click', run(show, async () => {
    const chosen = terms();
    const walletAddress = field('wallet').value.trim();
    const { message } = await send('/oauth/message', { ...chosen, walletAddress });
    shown = { ...chosen, walletAddress, message };
    field('message').value = message;
    say('Sign this message within five minutes, then paste the signature.');
  }));
  const button = document.getElementById('allow');
  button.addEventListener('click', run(button, async () => {
    if (!shown) throw new Error('Show the message first.');
    await finish({ ...shown, signature: field('signature').value.trim() });
  }));
  form.addEventListener('submit', (event) => event.preventDefault());
})();
