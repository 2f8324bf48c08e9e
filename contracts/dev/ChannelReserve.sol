// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// The part of Tempo's token standard that the reserve moves money with. It reverts where it does not succeed.
interface ITip20 {
    error InvalidToken();
    error PolicyForbids();

    function transfer(address to, uint256 amount) external returns (bool);
    function transferFrom(address from, address to, uint256 amount) external returns (bool);
    function transferPolicyId() external view returns (uint64);
}

/// TIP-403: who may send and receive a token.
interface ITransferPolicies {
    function isAuthorizedSender(uint64 policyId, address account) external view returns (bool);
    function isAuthorizedRecipient(uint64 policyId, address account) external view returns (bool);
}

/// TIP-1020: recovers the signer of any Tempo signature (secp256k1 of 65 bytes, P-256, WebAuthn) and reverts on
/// everything else: a high s, a compact signature, a signature through a keychain.
interface ISignatureVerifier {
    function recover(bytes32 hash, bytes calldata signature) external view returns (address signer);
}

/// TIP-1022: the account that a virtual address stands for, and any other address itself.
interface IAddressRegistry {
    function resolveRecipient(address to) external view returns (address);
}

/// The access keys of accounts, and how much each may still spend.
interface IAccountKeychain {
    struct KeyInfo {
        uint8 signatureType;
        address keyId;
        uint64 expiry;
        bool enforceLimits;
        bool isRevoked;
    }

    error SpendingLimitExceeded();

    /// The access key that signed the transaction; zero is the account's own key.
    function getTransactionKey() external view returns (address);
    function getKey(address account, address keyId) external view returns (KeyInfo memory);
    function getRemainingLimitWithPeriod(address account, address keyId, address token)
        external
        view
        returns (uint256 remaining, uint64 periodEnd);
}

/// The channel reserve of TIP-1034, for local chains that do not have it built in.
///
/// A payer locks a deposit for a payee, who claims it with signed vouchers for rising cumulative amounts; what is not
/// claimed goes back to the payer. Only the changing part of a channel is stored: its identity, the descriptor, is
/// given with each call and hashes to the channel's id. Rules, order of checks, events, errors and storage follow the
/// TIP.
///
/// Two things are beyond a contract, and whoever places it has to provide them: the hash of the enclosing transaction
/// ({_openContext}), and an allowance from each payer, because the TIP takes deposits without one. What else differs is
/// listed in `contracts/README.md`.
contract ChannelReserve {
    struct ChannelDescriptor {
        address payer;
        address payee;
        address operator;
        address token;
        bytes32 salt;
        address authorizedSigner;
        bytes32 expiringNonceHash;
    }

    /// One storage slot. A channel exists while its deposit is not zero.
    struct ChannelState {
        uint96 settled;
        uint96 deposit;
        uint32 closeRequestedAt;
    }

    struct Channel {
        ChannelDescriptor descriptor;
        ChannelState state;
    }

    event ChannelOpened(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        address operator,
        address token,
        address authorizedSigner,
        bytes32 salt,
        bytes32 expiringNonceHash,
        uint96 deposit
    );
    event Settled(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        uint96 cumulativeAmount,
        uint96 deltaPaid,
        uint96 newSettled
    );
    event TopUp(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        uint96 additionalDeposit,
        uint96 newDeposit
    );
    event CloseRequested(
        bytes32 indexed channelId, address indexed payer, address indexed payee, uint256 closeGraceEnd
    );
    event ChannelClosed(
        bytes32 indexed channelId,
        address indexed payer,
        address indexed payee,
        uint96 settledToPayee,
        uint96 refundedToPayer
    );
    event CloseRequestCancelled(bytes32 indexed channelId, address indexed payer, address indexed payee);

    error ChannelAlreadyExists();
    error ChannelNotFound();
    error NotPayer();
    error NotPayeeOrOperator();
    error InvalidPayee();
    error ZeroDeposit();
    error ExpiringNonceHashNotSet();
    error InvalidSignature();
    error AmountExceedsDeposit();
    error AmountNotIncreasing();
    error CaptureAmountInvalid();
    error CloseNotReady();
    error DepositOverflow();
    // Answers of every precompile of the chain to calls that it does not take.
    error DelegateCallNotAllowed();
    error StaticCallNotAllowed();
    error UnknownFunctionSelector(bytes4 selector);

    uint64 private constant GRACE_PERIOD = 15 minutes;
    bytes32 private constant VOUCHER_TYPE = keccak256("Voucher(bytes32 channelId,uint96 cumulativeAmount)");
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes12 private constant TOKEN_PREFIX = 0x20C000000000000000000000;
    bytes10 private constant VIRTUAL_MAGIC = 0xFDFDFDFDFDFDFDFDFDFD;
    /// Where this contract stands in for the precompile.
    address private constant RESERVE = 0x4d50500000000000000000000000000000000000;
    ISignatureVerifier private constant VERIFIER = ISignatureVerifier(0x5165300000000000000000000000000000000000);
    ITransferPolicies private constant POLICIES = ITransferPolicies(0x403c000000000000000000000000000000000000);
    IAddressRegistry private constant ADDRESSES = IAddressRegistry(0xfDC0000000000000000000000000000000000000);
    IAccountKeychain private constant KEYCHAIN = IAccountKeychain(0xaAAAaaAA00000000000000000000000000000000);

    /// Slot 0: the channels that are open.
    mapping(bytes32 channelId => ChannelState) private _channels;

    /// Slot 1: `keccak256(encodeForSigning || sender)` of the transaction that is running, written from outside before
    /// it runs.
    bytes32 private _openContext;

    /// A precompile runs in its own name only, also where it changes nothing.
    modifier direct() {
        _requireDirect();
        _;
    }

    /// A precompile's functions that can change state do not run where nothing may change, whatever they would do.
    modifier changing() {
        _requireDirect();
        _requireChangeable();
        _;
    }

    /// Refuses what no function takes. Called by this contract, with nothing, it writes: see {_requireChangeable}.
    fallback() external direct {
        if (msg.sender == address(this) && msg.data.length == 0) {
            assembly ("memory-safe") {
                tstore(0, 0)
            }
            return;
        }
        if (msg.data.length >= 4) revert UnknownFunctionSelector(msg.sig);
        assembly ("memory-safe") {
            revert(0, 0)
        }
    }

    /// Opens a channel from the caller and takes its deposit.
    function open(
        address payee,
        address operator,
        address token,
        uint96 deposit,
        bytes32 salt,
        address authorizedSigner
    ) external changing returns (bytes32 channelId) {
        if (payee == address(0) || _isToken(payee)) revert InvalidPayee();
        // A virtual payee cannot act, so that somebody else has to settle.
        if (_isVirtual(payee) && (operator == address(0) || _isVirtual(operator))) revert InvalidPayee();
        if (!_isToken(token)) revert ITip20.InvalidToken();
        if (deposit == 0) revert ZeroDeposit();
        if (_openContext == 0) revert ExpiringNonceHashNotSet();
        ChannelDescriptor memory descriptor =
            ChannelDescriptor(msg.sender, payee, operator, token, salt, authorizedSigner, _openContext);
        channelId = _id(descriptor);
        if (_channels[channelId].deposit != 0 || _openedInThisTransaction(channelId)) revert ChannelAlreadyExists();

        _takeDeposit(descriptor, deposit);
        _channels[channelId].deposit = deposit;
        _rememberOpened(channelId);
        emit ChannelOpened(
            channelId, msg.sender, payee, operator, token, authorizedSigner, salt, descriptor.expiringNonceHash, deposit
        );
    }

    /// Pays the payee what a voucher adds to what is settled already.
    function settle(ChannelDescriptor calldata descriptor, uint96 cumulativeAmount, bytes calldata signature)
        external
        changing
    {
        (bytes32 channelId, ChannelState memory state) = _existing(descriptor);
        _requirePayeeSide(descriptor);
        if (cumulativeAmount > state.deposit) revert AmountExceedsDeposit();
        if (cumulativeAmount <= state.settled) revert AmountNotIncreasing();
        _requireVoucher(descriptor, channelId, cumulativeAmount, signature);

        uint96 delta = cumulativeAmount - state.settled;
        _channels[channelId].settled = cumulativeAmount;
        _pay(descriptor, delta);
        emit Settled(channelId, descriptor.payer, descriptor.payee, cumulativeAmount, delta, cumulativeAmount);
    }

    /// Adds to the deposit and withdraws a request to close. An amount of zero does only the latter.
    function topUp(ChannelDescriptor calldata descriptor, uint96 additionalDeposit) external changing {
        (bytes32 channelId, ChannelState memory state) = _existing(descriptor);
        _requirePayer(descriptor);
        bool closing = state.closeRequestedAt != 0;
        if (additionalDeposit == 0 && !closing) return;

        if (additionalDeposit != 0) {
            if (additionalDeposit > type(uint96).max - state.deposit) revert DepositOverflow();
            state.deposit += additionalDeposit;
            _takeDeposit(descriptor, additionalDeposit);
        }
        state.closeRequestedAt = 0;
        _channels[channelId] = state;
        if (closing) emit CloseRequestCancelled(channelId, descriptor.payer, descriptor.payee);
        emit TopUp(channelId, descriptor.payer, descriptor.payee, additionalDeposit, state.deposit);
    }

    /// Ends a channel from the payee's side. The voucher proves `cumulativeAmount`, of which `captureAmount` in total
    /// goes to the payee; it is looked at only when that is more than is settled already.
    function close(
        ChannelDescriptor calldata descriptor,
        uint96 cumulativeAmount,
        uint96 captureAmount,
        bytes calldata signature
    ) external changing {
        (bytes32 channelId, ChannelState memory state) = _existing(descriptor);
        _requirePayeeSide(descriptor);
        if (captureAmount < state.settled || captureAmount > cumulativeAmount) revert CaptureAmountInvalid();
        if (captureAmount > state.deposit) revert AmountExceedsDeposit();
        uint96 delta = captureAmount - state.settled;
        if (delta != 0) _requireVoucher(descriptor, channelId, cumulativeAmount, signature);

        delete _channels[channelId];
        if (delta != 0) _pay(descriptor, delta);
        _refund(descriptor, channelId, captureAmount, state.deposit - captureAmount);
    }

    /// Starts the time after which the payer may withdraw. Asking again changes nothing.
    function requestClose(ChannelDescriptor calldata descriptor) external changing {
        (bytes32 channelId, ChannelState memory state) = _existing(descriptor);
        _requirePayer(descriptor);
        if (state.closeRequestedAt != 0) return;

        _channels[channelId].closeRequestedAt = uint32(block.timestamp);
        emit CloseRequested(channelId, descriptor.payer, descriptor.payee, block.timestamp + GRACE_PERIOD);
    }

    /// Ends a channel from the payer's side, once the payee has had the time to settle.
    function withdraw(ChannelDescriptor calldata descriptor) external changing {
        (bytes32 channelId, ChannelState memory state) = _existing(descriptor);
        _requirePayer(descriptor);
        bool ready = state.closeRequestedAt != 0 && block.timestamp >= state.closeRequestedAt + GRACE_PERIOD;
        if (!ready) revert CloseNotReady();

        delete _channels[channelId];
        _refund(descriptor, channelId, state.settled, state.deposit - state.settled);
    }

    function CLOSE_GRACE_PERIOD() external view direct returns (uint64) {
        return GRACE_PERIOD;
    }

    function VOUCHER_TYPEHASH() external view direct returns (bytes32) {
        return VOUCHER_TYPE;
    }

    function getChannel(ChannelDescriptor calldata descriptor) external view direct returns (Channel memory) {
        return Channel(descriptor, _channels[_id(descriptor)]);
    }

    /// All zeros for a channel that is not open.
    function getChannelState(bytes32 channelId) external view direct returns (ChannelState memory) {
        return _channels[channelId];
    }

    function getChannelStatesBatch(bytes32[] calldata channelIds)
        external
        view
        direct
        returns (ChannelState[] memory states)
    {
        states = new ChannelState[](channelIds.length);
        for (uint256 i = 0; i < channelIds.length; ++i) {
            states[i] = _channels[channelIds[i]];
        }
    }

    function computeChannelId(
        address payer,
        address payee,
        address operator,
        address token,
        bytes32 salt,
        address authorizedSigner,
        bytes32 expiringNonceHash
    ) external view direct returns (bytes32) {
        return _id(ChannelDescriptor(payer, payee, operator, token, salt, authorizedSigner, expiringNonceHash));
    }

    /// The EIP-712 digest that the payer, or the authorized signer, signs.
    function getVoucherDigest(bytes32 channelId, uint96 cumulativeAmount) external view direct returns (bytes32) {
        return _voucherDigest(channelId, cumulativeAmount);
    }

    function domainSeparator() external view direct returns (bytes32) {
        return _domainSeparator();
    }

    function _requireDirect() private view {
        if (address(this) != RESERVE) revert DelegateCallNotAllowed();
    }

    /// Refuses a call that may not change state. No contract can see that, but a call to itself that writes fails then.
    function _requireChangeable() private {
        (bool ok,) = address(this).call{gas: 5_000}("");
        if (!ok) revert StaticCallNotAllowed();
    }

    function _voucherDigest(bytes32 channelId, uint96 cumulativeAmount) private view returns (bytes32) {
        bytes32 voucher = keccak256(abi.encode(VOUCHER_TYPE, channelId, cumulativeAmount));
        return keccak256(abi.encodePacked(hex"1901", _domainSeparator(), voucher));
    }

    function _domainSeparator() private view returns (bytes32) {
        bytes32 name = keccak256("TIP20 Channel Reserve");
        return keccak256(abi.encode(DOMAIN_TYPEHASH, name, keccak256("1"), block.chainid, address(this)));
    }

    function _id(ChannelDescriptor memory descriptor) private view returns (bytes32) {
        return keccak256(abi.encode(descriptor, address(this), block.chainid));
    }

    function _existing(ChannelDescriptor calldata descriptor)
        private
        view
        returns (bytes32 channelId, ChannelState memory state)
    {
        channelId = _id(descriptor);
        state = _channels[channelId];
        if (state.deposit == 0) revert ChannelNotFound();
    }

    function _requirePayer(ChannelDescriptor calldata descriptor) private view {
        if (msg.sender != descriptor.payer) revert NotPayer();
    }

    /// An operator of zero is nobody.
    function _requirePayeeSide(ChannelDescriptor calldata descriptor) private view {
        bool isOperator = descriptor.operator != address(0) && msg.sender == descriptor.operator;
        if (msg.sender != descriptor.payee && !isOperator) revert NotPayeeOrOperator();
    }

    function _requireVoucher(
        ChannelDescriptor calldata descriptor,
        bytes32 channelId,
        uint96 cumulativeAmount,
        bytes calldata signature
    ) private view {
        address wanted = descriptor.authorizedSigner == address(0) ? descriptor.payer : descriptor.authorizedSigner;
        try VERIFIER.recover(_voucherDigest(channelId, cumulativeAmount), signature) returns (address signer) {
            if (signer != wanted) revert InvalidSignature();
        } catch {
            revert InvalidSignature();
        }
    }

    /// A payee that cannot receive the token must not get a channel filled.
    function _takeDeposit(ChannelDescriptor memory descriptor, uint96 amount) private {
        address receiver = ADDRESSES.resolveRecipient(descriptor.payee);
        if (!POLICIES.isAuthorizedRecipient(_policyOf(descriptor.token), receiver)) revert ITip20.PolicyForbids();
        _requireWithinLimit(descriptor.payer, descriptor.token, amount);
        ITip20(descriptor.token).transferFrom(descriptor.payer, address(this), amount);
    }

    /// A payer that may no longer send the token must not do so through a channel either.
    function _pay(ChannelDescriptor calldata descriptor, uint96 amount) private {
        bool allowed = POLICIES.isAuthorizedSender(_policyOf(descriptor.token), descriptor.payer);
        if (!allowed) revert ITip20.PolicyForbids();
        ITip20(descriptor.token).transfer(descriptor.payee, amount);
    }

    /// Policy 0, which forbids everything, is that of a token that was never made.
    function _policyOf(address token) private view returns (uint64) {
        return token.code.length == 0 ? 0 : ITip20(token).transferPolicyId();
    }

    /// Refuses a deposit beyond what the transaction's access key may still spend. That it may spend less from then on,
    /// only the chain can write down.
    function _requireWithinLimit(address payer, address token, uint256 amount) private view {
        address key = KEYCHAIN.getTransactionKey();
        if (key == address(0) || payer != tx.origin || !KEYCHAIN.getKey(payer, key).enforceLimits) return;
        (uint256 remaining,) = KEYCHAIN.getRemainingLimitWithPeriod(payer, key, token);
        if (amount > remaining) revert IAccountKeychain.SpendingLimitExceeded();
    }

    /// The last step of a channel's life.
    function _refund(ChannelDescriptor calldata descriptor, bytes32 channelId, uint96 settled, uint96 amount) private {
        if (amount != 0) ITip20(descriptor.token).transfer(descriptor.payer, amount);
        emit ChannelClosed(channelId, descriptor.payer, descriptor.payee, settled, amount);
    }

    function _isToken(address account) private pure returns (bool) {
        return bytes12(bytes20(account)) == TOKEN_PREFIX;
    }

    function _isVirtual(address account) private pure returns (bool) {
        return bytes10(bytes20(account) << 32) == VIRTUAL_MAGIC;
    }

    /// An id must not be opened twice in one transaction, not even when the channel was closed in between: vouchers of
    /// the first would be good for the second.
    function _openedInThisTransaction(bytes32 channelId) private view returns (bool opened) {
        assembly ("memory-safe") {
            opened := tload(channelId)
        }
    }

    function _rememberOpened(bytes32 channelId) private {
        assembly ("memory-safe") {
            tstore(channelId, 1)
        }
    }
}
