"""What people call Qomon's fields in the headers of their files, to suggest a mapping. Never an id."""

from __future__ import annotations

import unicodedata

_HEADERS = {
    "firstname": "first name, given name, forename, prenom, vorname, nombre, nome, fname",
    "surname": "last name, lname, family name, nom, nom de famille, nachname, familienname, apellido, "
    "cognome",
    "married_name": "married name, nom marital, nom d'epouse, nom d'usage",
    "mail": "email, e-mail, mail address, email address, e-mail address, adresse mail, adresse email, "
    "adresse e-mail, courriel, correo",
    "phone": "telephone, tel, phone number, telephone fixe, tel fixe, fixe, home phone, landline, telefon",
    "mobile": "mobile phone, mobile number, cell, cell phone, cellphone, portable, telephone portable, "
    "tel portable, tel mobile, telephone mobile, handy, gsm",
    "birthdate": "birth date, date of birth, dob, birthday, born, born on, date de naissance, naissance, "
    "ne le, nee le, geburtsdatum, geboren, fecha de nacimiento, data di nascita",
    "birthcity": "birth city, city of birth, place of birth, lieu de naissance, ville de naissance, "
    "geburtsort",
    "birthcountry": "birth country, country of birth, pays de naissance, geburtsland",
    "birthdept": "birth department, departement de naissance",
    "nationality": "nationalite, nationalitat, citizenship",
    "address.housenumber": "house number, street number, numero de rue, hausnummer",
    "address.street": "street, street name, rue, voie, address, adresse, address 1, address line 1, addr1, "
    "adresse 1, strasse, calle",
    "address.addition": "address 2, address line 2, addr2, adresse 2, complement, complement d'adresse",
    "address.building": "building, batiment",
    "address.floor": "floor, etage",
    "address.door": "door, porte, apartment, appartement",
    "address.postalcode": "zip, zip code, zipcode, postal code, post code, postcode, code postal, cp, plz, "
    "postleitzahl, codigo postal",
    "address.city": "city, town, ville, commune, locality, ort, stadt, ciudad, citta",
    "address.citycode": "city code, insee, code insee, code commune",
    "address.county": "county, departement",
    "address.state": "state, province, region, bundesland",
    "address.country": "country, pays, land, pais, paese",
    "address.pollingstation": "polling station, bureau de vote",
    "address.latitude": "latitude, lat",
    "address.longitude": "longitude, lon, lng, long",
    "tags": "tag, groups, group, groupes, groupe, etiquettes, labels, segments",
    "notes": "note, comment, comments, commentaire, commentaires, remarks, remarques, bemerkung",
    "black_list": "blacklist, black listed, unsubscribed, do not contact, ne pas contacter",
    "age_category": "age category, categorie d'age, age group",
}
"""Headers as people write them, without accents; case and signs do not matter. Never an id."""


def guess_field(column: str) -> str | None:
    """Return the Qomon field that a column of this name is probably meant for."""
    return _GUESSES.get(letters(column))


def letters(text: str) -> str:
    """Return what counts in a name that people write: letters and digits, without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if c.isalnum())


_GUESSES = {
    letters(header): name
    for name, headers in _HEADERS.items()
    for header in (name, name.removeprefix("address."), *headers.split(","))
}
