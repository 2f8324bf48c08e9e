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

/// The channel reserve of TIP-1034, for local chains that do not have it built in.
///
/// A payer locks a deposit for a payee, who claims it with signed vouchers for rising cumulative amounts; what is not
/// claimed goes back to the payer. Only the changing part of a channel is stored: its identity, the descriptor, is
/// given with each call and hashes to the channel's id. Rules, order of checks, events, errors and storage follow the
/// TIP.
///
/// Two things are beyond a contract, and whoever places it has to provide them: the hash of the enclosing transaction
/// ({_openContext}), and an allowance from each payer, because the TIP takes deposits without one. Not here: spending
/// limits of access keys, which an allowance gets around; TIP-1022's rule for virtual payees; the storage credits of
/// later versions.
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

    uint64 public constant CLOSE_GRACE_PERIOD = 15 minutes;
    bytes32 public constant VOUCHER_TYPEHASH = keccak256("Voucher(bytes32 channelId,uint96 cumulativeAmount)");

    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes12 private constant TOKEN_PREFIX = 0x20C000000000000000000000;
    ISignatureVerifier private constant VERIFIER = ISignatureVerifier(0x5165300000000000000000000000000000000000);
    ITransferPolicies private constant POLICIES = ITransferPolicies(0x403c000000000000000000000000000000000000);

    /// Slot 0: the channels that are open.
    mapping(bytes32 channelId => ChannelState) private _channels;

    /// Slot 1: `keccak256(encodeForSigning || sender)` of the transaction that is running, written from outside before
    /// it runs.
    bytes32 private _openContext;

    /// Opens a channel from the caller and takes its deposit.
    function open(
        address payee,
        address operator,
        address token,
        uint96 deposit,
        bytes32 salt,
        address authorizedSigner
    ) external returns (bytes32 channelId) {
        if (payee == address(0) || _isToken(payee)) revert InvalidPayee();
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
    function settle(ChannelDescriptor calldata descriptor, uint96 cumulativeAmount, bytes calldata signature) external {
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
    function topUp(ChannelDescriptor calldata descriptor, uint96 additionalDeposit) external {
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
    ) external {
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
    function requestClose(ChannelDescriptor calldata descriptor) external {
        (bytes32 channelId, ChannelState memory state) = _existing(descriptor);
        _requirePayer(descriptor);
        if (state.closeRequestedAt != 0) return;

        _channels[channelId].closeRequestedAt = uint32(block.timestamp);
        emit CloseRequested(channelId, descriptor.payer, descriptor.payee, block.timestamp + CLOSE_GRACE_PERIOD);
    }

    /// Ends a channel from the payer's side, once the payee has had the time to settle.
    function withdraw(ChannelDescriptor calldata descriptor) external {
        (bytes32 channelId, ChannelState memory state) = _existing(descriptor);
        _requirePayer(descriptor);
        bool ready = state.closeRequestedAt != 0 && block.timestamp >= state.closeRequestedAt + CLOSE_GRACE_PERIOD;
        if (!ready) revert CloseNotReady();

        delete _channels[channelId];
        _refund(descriptor, channelId, state.settled, state.deposit - state.settled);
    }

    function getChannel(ChannelDescriptor calldata descriptor) external view returns (Channel memory) {
        return Channel(descriptor, _channels[_id(descriptor)]);
    }

    /// All zeros for a channel that is not open.
    function getChannelState(bytes32 channelId) external view returns (ChannelState memory) {
        return _channels[channelId];
    }

    function getChannelStatesBatch(bytes32[] calldata channelIds) external view returns (ChannelState[] memory states) {
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
    ) external view returns (bytes32) {
        return _id(ChannelDescriptor(payer, payee, operator, token, salt, authorizedSigner, expiringNonceHash));
    }

    /// The EIP-712 digest that the payer, or the authorized signer, signs.
    function getVoucherDigest(bytes32 channelId, uint96 cumulativeAmount) public view returns (bytes32) {
        bytes32 voucher = keccak256(abi.encode(VOUCHER_TYPEHASH, channelId, cumulativeAmount));
        return keccak256(abi.encodePacked(hex"1901", domainSeparator(), voucher));
    }

    function domainSeparator() public view returns (bytes32) {
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
        try VERIFIER.recover(getVoucherDigest(channelId, cumulativeAmount), signature) returns (address signer) {
            if (signer != wanted) revert InvalidSignature();
        } catch {
            revert InvalidSignature();
        }
    }

    /// A payee that cannot receive the token must not get a channel filled.
    function _takeDeposit(ChannelDescriptor memory descriptor, uint96 amount) private {
        ITip20 token = ITip20(descriptor.token);
        if (!POLICIES.isAuthorizedRecipient(token.transferPolicyId(), descriptor.payee)) revert ITip20.PolicyForbids();
        token.transferFrom(descriptor.payer, address(this), amount);
    }

    /// A payer that may no longer send the token must not do so through a channel either.
    function _pay(ChannelDescriptor calldata descriptor, uint96 amount) private {
        ITip20 token = ITip20(descriptor.token);
        if (!POLICIES.isAuthorizedSender(token.transferPolicyId(), descriptor.payer)) revert ITip20.PolicyForbids();
        token.transfer(descriptor.payee, amount);
    }

    /// The last step of a channel's life.
    function _refund(ChannelDescriptor calldata descriptor, bytes32 channelId, uint96 settled, uint96 amount) private {
        if (amount != 0) ITip20(descriptor.token).transfer(descriptor.payer, amount);
        emit ChannelClosed(channelId, descriptor.payer, descriptor.payee, settled, amount);
    }

    function _isToken(address account) private pure returns (bool) {
        return bytes12(bytes20(account)) == TOKEN_PREFIX;
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
