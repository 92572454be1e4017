"""Sentences in nine languages, the material sample reviews are composed from."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """What one language has to offer. ``joiner`` stands between two sentences."""

    names: tuple[str, ...]
    praise: tuple[str, ...]
    mixed: tuple[str, ...]
    complaints: tuple[str, ...]
    remarks: tuple[str, ...]
    thanks: str
    apology: str
    joiner: str = " "


PHRASES: Mapping[str, Phrases] = {
    "en": Phrases(
        names=("Kevin Bob", "Aisha Khan", "Tom W.", "Margaret O'Neill", "J. Adeyemi", "Priya Nair"),
        praise=(
            "I would buy it again without thinking twice.",
            "Exactly what we were hoping for.",
            "My kids fight over who gets it first, so it must be good!",
            "Bought it as a birthday present and it was a huge hit.",
            "You really get a lot for the price.",
        ),
        mixed=("It does the job, just don't expect miracles.", "Nice idea, the finish could be better."),
        complaints=(
            "It stopped working the second time I used it.",
            "The colour is nothing like the photo.",
            "I wanted to like it, but I'm sending it back.",
            "Far too expensive for what it is.",
        ),
        remarks=(
            "Delivery took two days.",
            "The box was a bit dented, everything inside was fine.",
            "We got it for my mother-in-law.",
            "I read a lot of reviews before deciding.",
        ),
        thanks="Thank you for taking the time, that made our day!",
        apology="We're sorry about that. Please send us your order number and we'll put it right.",
    ),
    "fr": Phrases(
        names=("Camille Lefèvre", "Jean-Baptiste Morel", "Élodie R.", "Mme Garnier", "Théo", "Inès Benali"),
        praise=(
            "Exactement ce que je cherchais.",
            "Mon fils ne le quitte plus !",
            "Très bon rapport qualité-prix.",
            "Je recommande les yeux fermés.",
            "Offert à Noël, c'était un vrai succès.",
        ),
        mixed=("C'est joli, mais plus petit que prévu.", "Bonne idée, la finition pourrait être meilleure."),
        complaints=(
            "Reçu avec une rayure bien visible.",
            "Ça ne marche plus depuis la deuxième utilisation.",
            "La couleur n'a rien à voir avec la photo.",
            "Beaucoup trop cher pour ce que c'est.",
        ),
        remarks=(
            "Livraison en deux jours.",
            "Le carton était un peu abîmé, mais l'intérieur était intact.",
            "La notice est courte mais claire.",
            "Commandé dimanche, reçu mardi.",
        ),
        thanks="Merci beaucoup pour votre retour, cela nous fait très plaisir !",
        apology="Nous sommes désolés. Envoyez-nous votre numéro de commande et nous trouverons une solution.",
    ),
    "de": Phrases(
        names=("Jürgen Müller", "Sabine K.", "Anke Großmann", "Familie Weiß", "Mehmet Yılmaz", "Katharina von Stein"),
        praise=(
            "Würde ich jederzeit wieder kaufen.",
            "Genau das, was wir gesucht haben.",
            "Unsere Kinder sind völlig begeistert!",
            "Preis und Leistung stimmen hier wirklich.",
            "Ein Geschenk, das sehr gut ankam.",
        ),
        mixed=("Schön, aber kleiner als gedacht.", "Gute Idee, an der Verarbeitung könnte man noch feilen."),
        complaints=(
            "Kam mit einem dicken Kratzer an.",
            "Beim zweiten Mal ging schon nichts mehr.",
            "Die Farbe hat mit dem Foto nichts zu tun.",
            "Viel zu teuer für das, was es ist.",
        ),
        remarks=(
            "Die Lieferung dauerte zwei Tage.",
            "Der Karton war etwas verbeult, innen war alles heil.",
            "Die Anleitung ist kurz, aber verständlich.",
            "Sonntag bestellt, Dienstag da.",
        ),
        thanks="Herzlichen Dank, das freut uns sehr!",
        apology="Das tut uns leid. Bitte schicken Sie uns Ihre Bestellnummer, wir kümmern uns sofort.",
    ),
    "es": Phrases(
        names=("María José Núñez", "Íñigo Etxeberria", "Lucía P.", "Paco", "Begoña Ruiz", "Ángel Muñoz"),
        praise=(
            "¡A mis hijos les encanta!",
            "Lo volvería a comprar sin dudarlo.",
            "Justo lo que estábamos buscando.",
            "Muy buena relación calidad-precio.",
            "Lo regalé por un cumpleaños y fue todo un éxito.",
        ),
        mixed=("Bonito, pero más pequeño de lo que esperaba.", "Buena idea, aunque el acabado se puede mejorar."),
        complaints=(
            "Llegó con un arañazo enorme.",
            "Dejó de funcionar la segunda vez que lo usé.",
            "El color no tiene nada que ver con la foto.",
            "Demasiado caro para lo que es.",
        ),
        remarks=(
            "Llegó en dos días.",
            "La caja venía algo golpeada, pero por dentro todo bien.",
            "Las instrucciones son breves y claras.",
            "Era para mi suegra.",
        ),
        thanks="¡Muchas gracias por tu comentario, nos alegra un montón!",
        apology="Lo sentimos mucho. Envíanos tu número de pedido y lo arreglamos.",
    ),
    "nl": Phrases(
        names=("Sanne de Vries", "Joost", "Marijke van den Berg", "C. 't Hart", "Daan Jansen", "Fatima El Idrissi"),
        praise=(
            "Zou ik zo weer kopen.",
            "Precies wat we zochten.",
            "De kinderen zijn er dol op!",
            "Veel waar voor je geld.",
            "Cadeau gegeven en het was meteen een succes.",
        ),
        mixed=("Leuk, wel kleiner dan gedacht.", "Goed idee, de afwerking kan beter."),
        complaints=(
            "Kwam aan met een flinke kras.",
            "Deed het de tweede keer al niet meer.",
            "De kleur lijkt niet op de foto.",
            "Veel te duur voor wat het is.",
        ),
        remarks=(
            "Binnen twee dagen in huis.",
            "Doos was gedeukt, inhoud gelukkig heel.",
            "De handleiding is kort maar duidelijk.",
            "Zondag besteld, dinsdag bezorgd.",
        ),
        thanks="Wat fijn om te lezen, dank je wel!",
        apology="Dat is niet de bedoeling, sorry. Stuur ons je bestelnummer, dan lossen we het op.",
    ),
    "da": Phrases(
        names=("Mette Sørensen", "Søren Kjær", "Åse Bøgh", "Familien Østergaard", "Rasmus", "Ida Nygård"),
        praise=(
            "Jeg ville købe det igen uden at tøve.",
            "Lige præcis det, vi ledte efter.",
            "Børnene er vilde med det!",
            "Man får meget for pengene.",
            "En gave, der vakte stor begejstring.",
        ),
        mixed=("Pænt, men mindre end forventet.", "God idé, finishen kunne være bedre."),
        complaints=(
            "Kom med en stor ridse.",
            "Virkede ikke længere anden gang.",
            "Farven ligner slet ikke billedet.",
            "Alt for dyrt.",
        ),
        remarks=(
            "Leveret på to dage.",
            "Kassen var bulet, men indholdet var helt.",
            "Vejledningen er kort og klar.",
            "Bestilt søndag, modtaget tirsdag.",
        ),
        thanks="Tusind tak, det er vi glade for at høre!",
        apology="Det er vi kede af. Send os dit ordrenummer, så finder vi en løsning.",
    ),
    "ar": Phrases(
        names=("أحمد منصور", "ليلى حداد", "خالد", "نور الهدى", "يوسف بن علي", "سارة الشامي"),
        praise=(
            "منتج رائع وأنصح به الجميع.",
            "أولادي سعداء به جدا!",
            "قيمة ممتازة مقابل السعر.",
            "سأشتري منه مرة أخرى بالتأكيد.",
            "تماما كما في الصور.",
        ),
        mixed=("لا بأس به، لكنه أصغر مما ظننت.", "فكرة جيدة والتنفيذ متوسط."),
        complaints=(
            "توقف عن العمل بعد أسبوعين.",
            "وصل الطلب وعليه خدش واضح.",
            "السعر مرتفع جدا.",
            "اللون مختلف تماما عن الصورة.",
        ),
        remarks=("وصل الطلب خلال يومين.", "التغليف جيد.", "كان هدية لوالدتي.", "التعليمات قصيرة وواضحة."),
        thanks="شكرا جزيلا لك، سعدنا برأيك!",
        apology="نعتذر عن ذلك، أرسل لنا رقم الطلب وسنحل المشكلة.",
    ),
    "he": Phrases(
        names=("נועה לוי", "איתי כהן", "יעל", "משפחת ברק", "דוד מזרחי"),
        praise=(
            "הילדים פשוט עפים על זה!",
            "תמורה מצוינת למחיר.",
            "בדיוק מה שחיפשתי.",
            "הייתי קונה שוב בלי לחשוב פעמיים.",
            "איכות מעולה.",
        ),
        mixed=("יפה, אבל קטן ממה שחשבתי.", "רעיון טוב, הגימור פחות."),
        complaints=("נשבר אחרי שבועיים.", "הגיע עם שריטה גדולה.", "יקר מדי.", "הצבע לא דומה לתמונה."),
        remarks=(
            "המשלוח הגיע תוך יומיים.",
            "האריזה הייתה קצת מעוכה.",
            "קניתי במתנה לחמות שלי.",
            "ההוראות קצרות וברורות.",
        ),
        thanks="תודה רבה, שמחנו לקרוא!",
        apology="מצטערים על כך. שלחו לנו את מספר ההזמנה ונטפל בזה.",
    ),
    "ja": Phrases(
        names=("田中 美咲", "佐藤健", "ゆき", "鈴木 一郎", "髙橋さん", "ミカママ"),
        praise=(
            "子どもが毎日遊んでいます!",
            "この値段でこの品質なら大満足です。",
            "プレゼントにしたら大変喜ばれました。",
            "また購入したいと思います。",
        ),
        mixed=("思ったより小さかったですが、使えます。", "悪くはないですが、特別でもありません。"),
        complaints=(
            "二週間で壊れてしまいました。",
            "届いた時から傷がありました。",
            "値段が高すぎます。",
            "色が写真と全然違います。",
        ),
        remarks=(
            "二日で届きました。",
            "箱が少しへこんでいましたが、中身は無事でした。",
            "説明書は短くて分かりやすいです。",
            "義母への贈り物です。",
        ),
        thanks="嬉しいお言葉をありがとうございます!",
        apology="ご迷惑をおかけして申し訳ございません。注文番号をお知らせください。",
        joiner="",
    ),
}
"""By ISO 639-1 code."""
