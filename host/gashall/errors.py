"""What can go wrong in a hall: four classes, stable codes, and a sentence that says what to do next.

A rule that meter and hall share keeps the meter's number (``gascard.codes``); what only a hall can meet
counts from -100 down and is never renumbered either.
"""

from gascard.meanings import CODES

NOT_WHOLE_PULSES = -100
AMOUNT = -101
NUMBER_MALFORMED = -102
FIELD = -103
IMAGE_SIZE = -104
CARD_BLANK = -105
CARD_NOT_BLANK = -106
CARD_UNKNOWN = -107
CARD_SWAPPED = -108
CARD_DEAD = -109
LAST_TRY = -110
WRITE_REFUSED = -111
READ_BACK_DIFFERS = -112
GAS_ON_CARD = -113
OPENING_NOT_LOADED = -114
REPORT_OLDER = -115
REPORT_MISSING = -116
LEDGER_BEHIND = -117
PENDING_ELSEWHERE = -118
ORDER_FINISHED = -119
ACCOUNT_UNKNOWN = -120
ORDER_MISSING = -121
KEY_FILE = -122
READER = -123
READER_USE = -124
LEDGER = -125
LEDGER_REGION = -126
OPENING_DIFFERS = -127
LEDGER_KEY = -128
LEDGER_MISSING = -129
LEDGER_VERSION = -130
PRICE_MISSING = -131
PRICE_DIFFERS = -132
PRICE_PAST = -133
OVER_LIMIT = -134
SHIFT_MISSING = -135
SHIFT_OPEN = -136
SHIFT_DIFFERS = -137
STOCK_SHORT = -138
GRANT_MISSING = -139
GRANT_NOT_APPROVED = -140
APPROVER = -141
GRANT_WRITTEN = -142
GRANT_ACCOUNT = -143
GRANT_ENDED = -144
HELD = -145
NOT_HELD = -146
REFUND_UNPAID = -147
REFUND_NOT_PROVEN = -148
REFUND_AFTER = -149
ACCOUNT_STOPPED = -150
ACCOUNT_CLOSED = -151
CARD_IN_USE = -152
RECOVERING = -165
SUSPENDED = -166
NOTHING_TO_ADOPT = -167
NOT_SUSPENDED = -168
NOT_RECOVERING = -169
CARD_HALF_MADE = -155
BATCH_ROWS = -156
BATCH_STOPPED = -157
BINDING_ENDS = -180
TOOL_UNKNOWN = -181
TOOL_DIFFERS = -182
TOOL_ENDED = -183
TOOL_OUT = -184
METER_UNKNOWN = -185
FINAL_MISSING = -186
ORDER_WAITS = -187
EXCHANGE = -190
EXCHANGE_MISSING = -191
METER_DEAD = -192
DEAD_METER_LIMIT = -193
REPLACEMENT_UNSEEN = -197
DEAD_METER_OWED = -198

# Code -> (name, what it means, 中文, what the person does next): the same shape as gascard.meanings.CODES.
HOST_CODES: dict[int, tuple[str, str, str, str]] = {
    NOT_WHOLE_PULSES: (
        "NOT_WHOLE_PULSES",
        "The volume is no whole number of this meter's pulses.",
        "气量不是脉冲当量的整数倍",
        "Enter a volume with no more decimals than the meter counts.",
    ),
    AMOUNT: (
        "AMOUNT",
        "The amount cannot be sold: it is no number, or not above zero.",
        "购气量无效",
        "Enter a volume above zero, as digits with a decimal point.",
    ),
    NUMBER_MALFORMED: (
        "NUMBER_MALFORMED",
        "The number does not have the form such numbers have.",
        "编号格式错误",
        "Copy it again from the meter's plate (14 digits) or the customer's file (10 digits).",
    ),
    FIELD: (
        "FIELD",
        "A field is missing, unknown or outside its range.",
        "字段无效",
        "Correct the value named in the message; docs/SPEC.md gives every field's range.",
    ),
    IMAGE_SIZE: (
        "IMAGE_SIZE",
        "A card image is 256 bytes, or 264 with protection and security memory.",
        "卡数据长度错误",
        "Read the card again, or look whether the file is the right one and whole.",
    ),
    CARD_BLANK: (
        "CARD_BLANK",
        "The card is blank: nothing has been issued on it.",
        "空白卡",
        "Open the account with it, or insert the customer's own card.",
    ),
    CARD_NOT_BLANK: (
        "CARD_NOT_BLANK",
        "The card is not blank, and not the unfinished card of this account.",
        "不是空白卡",
        "Take a new card from stock; put this one aside for a card check.",
    ),
    CARD_UNKNOWN: (
        "CARD_UNKNOWN",
        "The card is of this region, but the ledger has no such card number.",
        "台账中无此卡号",
        "Look whether this is the right ledger; otherwise the card is reported and kept.",
    ),
    CARD_SWAPPED: (
        "CARD_SWAPPED",
        "The card in the reader is not the one that was read a moment ago.",
        "写卡前卡已被更换",
        "Insert the first card again and repeat; nothing was written to the second.",
    ),
    CARD_DEAD: (
        "CARD_DEAD",
        "All password tries of the card are used up: it can be read, never written again.",
        "卡已锁死",
        "Issue a replacement card; what the dead one says can still be read.",
    ),
    LAST_TRY: (
        "LAST_TRY",
        "The card has one password try left; a failure would lock it for ever.",
        "卡密码只剩一次机会",
        "Spend it only on purpose (rescue), when the card is surely the customer's; else replace the card.",
    ),
    WRITE_REFUSED: (
        "WRITE_REFUSED",
        "The card did not take a byte: the place is protected or the password was not accepted.",
        "卡拒绝写入",
        "Repeat once; if it stays so, replace the card.",
    ),
    READ_BACK_DIFFERS: (
        "READ_BACK_DIFFERS",
        "The card does not hold what was written to it.",
        "回读数据不一致",
        "Repeat the sale: it is finished, not made twice. If it stays so, replace the card.",
    ),
    GAS_ON_CARD: (
        "GAS_ON_CARD",
        "The last purchase is still on the card; no report shows that the meter has loaded it.",
        "卡内有未充入表的气量",
        "The customer inserts the card into the meter first, then comes back.",
    ),
    OPENING_NOT_LOADED: (
        "OPENING_NOT_LOADED",
        "The opening card has not been in its meter yet.",
        "开户卡未插入过表",
        "Put the meter into service with this card first, then sell.",
    ),
    REPORT_OLDER: (
        "REPORT_OLDER",
        "The card's report is older than one the hall has already seen; it moves nothing.",
        "卡内回写数据较旧",
        "Insert the card into the meter and read it again; look whether it is the customer's present card.",
    ),
    REPORT_MISSING: (
        "REPORT_MISSING",
        "No authentic report of this meter is known.",
        "无有效回写数据",
        "Insert the card into the meter and read it back at the hall first.",
    ),
    LEDGER_BEHIND: (
        "LEDGER_BEHIND",
        "The card is ahead of the ledger: an authentic order or report says more than was ever booked.",
        "台账落后于卡",
        "Sell nothing; the ledger has lost entries. Adopt the card's word, approved: icgas hall reconcile adopt.",
    ),
    PENDING_ELSEWHERE: (
        "PENDING_ELSEWHERE",
        "Another window has an unfinished order for this account or meter.",
        "其他窗口有未完成业务",
        "Finish it there, or insert the card here and repeat once the other window has stopped.",
    ),
    ORDER_FINISHED: (
        "ORDER_FINISHED",
        "An earlier unfinished order has been finished on this card; nothing else was sold.",
        "已补写上次未完成的购气",
        "Hand the card out for the earlier order; sell more after the meter has loaded it.",
    ),
    ACCOUNT_UNKNOWN: (
        "ACCOUNT_UNKNOWN",
        "The ledger has no such account, or it has no meter.",
        "无此账户",
        "Look the number up in the customer's file.",
    ),
    ORDER_MISSING: (
        "ORDER_MISSING",
        "The card bears no order, though it was issued.",
        "卡内无购气数据",
        "Replace the card.",
    ),
    KEY_FILE: (
        "KEY_FILE",
        "The key file cannot be used.",
        "密钥文件不可用",
        "Restore it from the safe copy, or correct its path and its rights (owner only).",
    ),
    READER: (
        "READER",
        "The card reader failed.",
        "读卡器故障",
        "Look at cable and driver, then repeat; an unfinished sale is finished, not made twice.",
    ),
    READER_USE: (
        "READER_USE",
        "The reader was used out of order or out of range.",
        "读卡器调用错误",
        "Correct the program: connect, present the password, then write within the card's 256 bytes.",
    ),
    LEDGER: (
        "LEDGER",
        "The ledger cannot be read or written.",
        "台账不可读写",
        "Look at disk, path and rights; nothing goes on a card before the ledger has it.",
    ),
    LEDGER_REGION: (
        "LEDGER_REGION",
        "Ledger and key file belong to different regions.",
        "台账与密钥区域不符",
        "Open the ledger with the key file it was made with.",
    ),
    OPENING_DIFFERS: (
        "OPENING_DIFFERS",
        "This meter has an unfinished opening with other particulars.",
        "该表有未完成的开户",
        "Repeat the opening as it was entered first; change the particulars afterwards.",
    ),
    LEDGER_KEY: (
        "LEDGER_KEY",
        "The ledger was made with another root key of this region.",
        "密钥文件与台账不符",
        "Open it with the key file it was made with; nothing has been changed.",
    ),
    LEDGER_MISSING: (
        "LEDGER_MISSING",
        "There is no ledger at this place.",
        "台账不存在",
        "Correct the path; a new ledger is made on purpose only: icgas hall init, or create=True.",
    ),
    LEDGER_VERSION: (
        "LEDGER_VERSION",
        "The ledger is of an earlier version.",
        "台账版本较旧",
        "Upgrade it once, with all windows closed: icgas hall upgrade (a copy is kept beside it).",
    ),
    PRICE_MISSING: (
        "PRICE_MISSING",
        "No price is in force at this time.",
        "该时间无有效气价",
        "Set the price first: icgas hall price set.",
    ),
    PRICE_DIFFERS: (
        "PRICE_DIFFERS",
        "The money named is not what the gas costs by the price list.",
        "金额与气价不符",
        "Take what the price list says, or say that another sum was agreed (--price-agreed, price_agreed).",
    ),
    PRICE_PAST: (
        "PRICE_PAST",
        "A price cannot be set for a time that is past.",
        "不能设定过去的气价",
        "Give this minute or a later one; what was sold keeps the money it was sold for.",
    ),
    OVER_LIMIT: (
        "OVER_LIMIT",
        "The purchase would pass a limit this hall has set.",
        "超过限购气量",
        "Sell less, or have the limit changed: icgas hall limits.",
    ),
    SHIFT_MISSING: (
        "SHIFT_MISSING",
        "No shift is open.",
        "未开班",
        "Open a shift first: icgas hall shift open CLERK.",
    ),
    SHIFT_OPEN: (
        "SHIFT_OPEN",
        "A shift is open already.",
        "已有未交班的班次",
        "Go on in it, or close it first: icgas hall shift close.",
    ),
    SHIFT_DIFFERS: (
        "SHIFT_DIFFERS",
        "What was counted at the end of the shift is not what the ledger says.",
        "交班清点与台账不符",
        "Count again and look for the missing slip; what still differs is closed with its reason (--differs).",
    ),
    STOCK_SHORT: (
        "STOCK_SHORT",
        "There are not so many blank cards by the stock.",
        "空白卡库存不足",
        "Book the cards first: icgas hall stock in, then stock out to the open shift.",
    ),
    GRANT_MISSING: (
        "GRANT_MISSING",
        "There is no request of this number.",
        "无此申请",
        "Look the number up: icgas hall makeup list, gift list or refund list.",
    ),
    GRANT_NOT_APPROVED: (
        "GRANT_NOT_APPROVED",
        "The request has not been approved.",
        "申请未审批",
        "Have it approved first, by somebody else than who asked for it: icgas hall makeup approve, gift approve or "
        "refund approve.",
    ),
    APPROVER: (
        "APPROVER",
        "Who asked for it cannot approve it.",
        "申请人不得自行审批",
        "Have another person approve it.",
    ),
    GRANT_WRITTEN: (
        "GRANT_WRITTEN",
        "The request has been written to a card already; it is written once.",
        "该申请已写卡",
        "Make another request if more is due; what was written shows in the account's history.",
    ),
    GRANT_ACCOUNT: (
        "GRANT_ACCOUNT",
        "The card is of another account than the request.",
        "卡与申请账户不符",
        "Insert the card of the account the request names.",
    ),
    GRANT_ENDED: (
        "GRANT_ENDED",
        "The request is paid out or cancelled.",
        "该申请已付款或已撤销",
        "Nothing more is done with it; make another request if one is due.",
    ),
    HELD: (
        "HELD",
        "Paid gas is held until the replacement card's report or an approved make-up.",
        "有待确认的气量",
        "Put the new card into the meter and read it back; or have held gas made up: icgas hall makeup.",
    ),
    NOT_HELD: (
        "NOT_HELD",
        "Not so much gas is held as is to be made up.",
        "待补气量不足",
        "Make up what is held at most, or choose the kind that says what the loss is.",
    ),
    REFUND_UNPAID: (
        "REFUND_UNPAID",
        "A refund of this account is neither paid nor cancelled.",
        "退气未结清",
        "Put the card into the meter, read it back and pay (icgas hall refund pay), or cancel the refund.",
    ),
    REFUND_NOT_PROVEN: (
        "REFUND_NOT_PROVEN",
        "No report shows that the meter has given the refunded gas up.",
        "退气未经表确认",
        "Put the card into the meter, read it back, then pay.",
    ),
    REFUND_AFTER: (
        "REFUND_AFTER",
        "No refund is written right after a refund or on a card just replaced.",
        "不可连续退气或补卡后即退气",
        "Refund after the next purchase has been loaded.",
    ),
    ACCOUNT_STOPPED: (
        "ACCOUNT_STOPPED",
        "The customer is stopped and cannot buy.",
        "用户已停用",
        "Resume the customer first: icgas hall resume.",
    ),
    ACCOUNT_CLOSED: (
        "ACCOUNT_CLOSED",
        "The account is closed.",
        "用户已销户",
        "Open a new account.",
    ),
    CARD_IN_USE: (
        "CARD_IN_USE",
        "The card is its account's present one: it is not taken back.",
        "该卡为在用卡",
        "Replace it first: icgas hall replace.",
    ),
    RECOVERING: (
        "RECOVERING",
        "The ledger was restored from a copy, and the account's meter has not reported since.",
        "台账恢复中，待表具回报",
        "Write a probe (icgas hall probe; for a lost card icgas hall replace), have the meter read it, then adopt its "
        "report: icgas hall reconcile adopt.",
    ),
    SUSPENDED: (
        "SUSPENDED",
        "The account is suspended: its meter is under test.",
        "该户已停用，表具检定中",
        "Wait for the end of the test: icgas hall suspend end.",
    ),
    NOTHING_TO_ADOPT: (
        "NOTHING_TO_ADOPT",
        "The card says nothing that could be adopted.",
        "无可采纳的卡内数据",
        "Sell as usual; a recovering account first needs a probe, and the meter's report of it.",
    ),
    NOT_SUSPENDED: (
        "NOT_SUSPENDED",
        "The account is not suspended.",
        "该户未停用",
        "Look the account up: icgas hall history. A test begins with icgas hall suspend begin.",
    ),
    NOT_RECOVERING: (
        "NOT_RECOVERING",
        "The account is not recovering: it needs no probe.",
        "该户无需恢复",
        "Sell as usual.",
    ),
    CARD_HALF_MADE: (
        "CARD_HALF_MADE",
        "The card is half made: the opening it was issued for was never finished.",
        "卡未制作完成",
        "Repeat the opening with it; if it was finished on another card, put this one aside as spoiled.",
    ),
    BATCH_ROWS: (
        "BATCH_ROWS",
        "Rows of the batch file cannot be opened; nothing was written.",
        "批量文件有误",
        "Correct the lines named (icgas hall batch --dry-run names all of them) and repeat.",
    ),
    BATCH_STOPPED: (
        "BATCH_STOPPED",
        "The batch stopped before its end.",
        "批量开户中断",
        "Look at the cause named, then go on with --resume: what is open stays open and is not made twice.",
    ),
    BINDING_ENDS: (
        "BINDING_ENDS",
        "A clear or transfer card is out for this meter: its binding may have ended.",
        "清零卡或转移卡未收回",
        "Read that card back first: icgas hall tool read. If it was never used: icgas hall tool end. If a "
        "clear card is lost or no longer reads, make another one: icgas hall clear --again.",
    ),
    TOOL_UNKNOWN: (
        "TOOL_UNKNOWN",
        "The ledger has no such tool card.",
        "台账中无此工具卡",
        "Look the number up: icgas hall tool list.",
    ),
    TOOL_DIFFERS: (
        "TOOL_DIFFERS",
        "There is an unfinished tool card of this kind with other particulars.",
        "有未完成的工具卡",
        "Repeat it as it was entered first, or end that card: icgas hall tool end.",
    ),
    TOOL_ENDED: (
        "TOOL_ENDED",
        "The tool card was taken back.",
        "工具卡已收回",
        "Make a new one; keep this one for a card check.",
    ),
    TOOL_OUT: (
        "TOOL_OUT",
        "The tool card may have been used, and what it did has not been read.",
        "工具卡可能已用，未回读",
        "Insert the card and read it back: icgas hall tool read.",
    ),
    METER_UNKNOWN: (
        "METER_UNKNOWN",
        "The ledger has no such meter.",
        "台账中无此表",
        "Book the meter first: icgas hall tool meter.",
    ),
    FINAL_MISSING: (
        "FINAL_MISSING",
        "No authentic final record shows how the binding ended.",
        "无有效终止记录",
        "Clear the meter and read the clear card back: icgas hall clear, then tool read.",
    ),
    ORDER_WAITS: (
        "ORDER_WAITS",
        "An order waits that the meter could not load with its new keys.",
        "有未充入表的购气，不可换钥",
        "Let the meter load the customer's card and read it back first.",
    ),
    EXCHANGE: (
        "EXCHANGE",
        "An exchange of the meter is under way.",
        "换表未完成",
        "Read the transfer card when it is back (icgas hall exchange read); if it is lost: icgas hall exchange again.",
    ),
    EXCHANGE_MISSING: (
        "EXCHANGE_MISSING",
        "There is no such exchange of a meter.",
        "无换表记录",
        "Look the account up: icgas hall history. An exchange begins with icgas hall exchange begin.",
    ),
    METER_DEAD: (
        "METER_DEAD",
        "The meter was declared dead and handed in.",
        "该表已登记为死表",
        "Take another meter; this one is bound again only when it has been cleared and the clear card read back.",
    ),
    DEAD_METER_LIMIT: (
        "DEAD_METER_LIMIT",
        "No dead meter of this account had so much left by its closing index.",
        "超过死表剩余气量",
        "Ask for at most what the exchange has told (icgas hall exchange show).",
    ),
    DEAD_METER_OWED: (
        "DEAD_METER_OWED",
        "What a dead meter had left by its index has neither been made up nor refused.",
        "死表余气未处理",
        "Ask for the make-up (icgas hall makeup request, kind dead meter) and write it, or cancel it if none is due.",
    ),
    REPLACEMENT_UNSEEN: (
        "REPLACEMENT_UNSEEN",
        "The account's present card is a replacement itself, and its meter has not been seen to load it.",
        "现用卡为补卡，尚未插表",
        "If that card is the one just made, hand it out. If it is lost or broken too, say so (--again, again=True).",
    ),
}


def words(code: int) -> tuple[str, str, str, str]:
    """Name, English, Chinese and remedy of a code of meter or hall. KeyError for a number that is no code."""
    return HOST_CODES[code] if code in HOST_CODES else CODES[code]


class GasError(Exception):
    """A rule was broken or a thing failed; the base of all errors of this package.

    ``code`` is a number of ``gascard.codes`` or of this module, ``name`` its name, ``message`` what
    happened, ``message_zh`` the same in Chinese, ``remedy`` what the person does next. ``str()`` gives
    message and remedy.
    """

    def __init__(self, code: int, message: str = "", remedy: str = "") -> None:
        name, english, chinese, next_step = words(code)
        self.code = code
        self.name = name
        self.message = message or english
        self.message_zh = chinese
        self.remedy = remedy or next_step
        super().__init__(code, self.message, self.remedy)

    def __str__(self) -> str:
        return f"{self.name} ({self.code}): {self.message} {self.remedy}"


class RequestError(GasError):
    """The caller asked for something impossible; nothing was written."""


class CardError(GasError):
    """The card, or what stands on it, does not allow it."""


class ReaderError(GasError):
    """Hardware or driver: no card, card pulled, reader gone."""


class LedgerError(GasError):
    """The ledger cannot do it: unknown, unfinished elsewhere, behind the card, or not readable."""
